//! The type checker: from the syntax tree to [`Code`], or what is wrong and where.

mod functions;
mod macros;
mod operators;
mod suggest;
mod ty;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, SelectExpr};

use self::suggest::suggestion;
use self::ty::Ty;
use crate::code::Code;
use crate::limits::{MAX_LEVELS, MAX_PROBLEMS};
use crate::problem::{Level, Problem, printable};
use crate::syntax::Parsed;
use crate::variables::{Basis, Member, ROOT, Schema, Type};

/// A checked expression with what it is made of.
struct Typed {
    code: Code,
    ty: Ty,
    /// The row of the table that it comes from, for closed sets of words.
    member: Option<&'static Member>,
}

impl Typed {
    fn new(code: Code, ty: Ty) -> Self {
        Self { code, ty, member: None }
    }

    fn wrong() -> Self {
        Self::new(Code::Bool(false), Ty::Wrong)
    }
}

/// A variable of a macro.
struct Element {
    name: String,
    ty: Ty,
    member: Option<&'static Member>,
    path: String,
}

/// What a checked condition is.
pub(crate) struct Checked {
    pub code: Code,
    /// Notes that do not hinder its use.
    pub notes: Vec<Problem>,
}

struct Checker<'a> {
    parsed: &'a Parsed,
    problems: Vec<Problem>,
    notes: Vec<Problem>,
    elements: Vec<Element>,
    levels: usize,
}

/// Checks an expression that shall be a condition.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(parsed: &Parsed) -> Result<Checked, Vec<Problem>> {
    let mut checker =
        Checker { parsed, problems: Vec::new(), notes: Vec::new(), elements: Vec::new(), levels: 0 };
    let typed = checker.expression(&parsed.expr);
    if !typed.ty.same(&Ty::Bool) || matches!(typed.ty, Ty::Nothing) {
        checker.report(
            parsed.expr.id,
            Problem::error("not-a-condition", format!("The expression is {}, a condition is bool", typed.ty))
                .hint("compare it with something, or ask whether it is there with `has(…)`"),
        );
    }
    match checker.problems.is_empty() {
        true => Ok(Checked { code: typed.code, notes: checker.notes }),
        false => Err(checker.problems),
    }
}

fn boxed(typed: Typed) -> Box<Code> {
    Box::new(typed.code)
}

impl Checker<'_> {
    fn report(&mut self, id: u64, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem.at(self.parsed.place(id)));
        }
    }

    fn type_error(&mut self, id: u64, message: impl Into<String>) -> Typed {
        self.report(id, Problem::error("type-error", message));
        Typed::wrong()
    }

    fn unsupported(&mut self, id: u64, what: &str) -> Typed {
        self.report(
            id,
            Problem::error("not-supported", format!("{what} cannot be used in conditions"))
                .hint("docs/policies.md lists what can"),
        );
        Typed::wrong()
    }

    /// Checks an operand that must be of a type.
    fn of_type(&mut self, expr: &IdedExpr, ty: &Ty, role: &str) -> Typed {
        let typed = self.expression(expr);
        if !typed.ty.same(ty) {
            return self.type_error(expr.id, format!("{role} is {}, it must be {ty}", typed.ty));
        }
        typed
    }

    /// Checks an expression, as deep as the stack allows: chains of `+` are as deep as they are long.
    fn expression(&mut self, expr: &IdedExpr) -> Typed {
        if self.levels >= MAX_LEVELS {
            let problem = Problem::error(
                "too-deep",
                format!("More than {MAX_LEVELS} operations are inside one another"),
            );
            self.report(expr.id, problem.hint("split it into several conditions: all of them must hold"));
            return Typed::wrong();
        }
        self.levels += 1;
        let typed = self.operation(expr);
        self.levels -= 1;
        typed
    }

    fn operation(&mut self, expr: &IdedExpr) -> Typed {
        match &expr.expr {
            Expr::Literal(literal) => self.literal(expr.id, literal),
            Expr::Ident(name) => self.name(expr.id, name),
            Expr::Select(select) => self.select(expr.id, select),
            Expr::Call(call) => self.call(expr.id, call),
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return self.unsupported(expr.id, "An optional element of a list");
                }
                self.list(&list.elements)
            }
            Expr::Comprehension(comprehension) => self.comprehension(expr.id, comprehension),
            Expr::Map(_) => self.unsupported(expr.id, "A map"),
            Expr::Struct(_) => self.unsupported(expr.id, "A message"),
            Expr::Unspecified => self.unsupported(expr.id, "This"),
        }
    }

    fn literal(&mut self, id: u64, literal: &LiteralValue) -> Typed {
        match literal {
            LiteralValue::Boolean(value) => Typed::new(Code::Bool(*value.inner()), Ty::Bool),
            LiteralValue::Int(value) => Typed::new(Code::Int(*value.inner()), Ty::Int),
            LiteralValue::String(value) => Typed::new(Code::Text(value.inner().to_owned()), Ty::Text),
            LiteralValue::Null => {
                self.report(
                    id,
                    Problem::error("not-supported", "Nothing is ever null: what is not known is absent")
                        .hint("ask with `has(…)`"),
                );
                Typed::wrong()
            }
            LiteralValue::Bytes(_) => self.unsupported(id, "A bytes literal"),
            LiteralValue::Double(_) => self.unsupported(id, "A number with a fraction"),
            LiteralValue::UInt(_) => self.unsupported(id, "An unsigned number (write it without `u`)"),
        }
    }

    fn list(&mut self, elements: &[IdedExpr]) -> Typed {
        let mut ty = Ty::Nothing;
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            let typed = self.expression(element);
            if !typed.ty.same(&ty) {
                self.type_error(element.id, format!("The list holds {ty} and {}", typed.ty));
                return Typed::wrong();
            }
            if matches!(ty, Ty::Nothing) {
                ty = typed.ty.clone();
            }
            items.push(typed.code);
        }
        Typed::new(Code::List(items), Ty::List(Box::new(ty)))
    }

    fn name(&mut self, id: u64, name: &str) -> Typed {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((at, element)) = self.elements.iter().enumerate().rev().find(|(_, e)| e.name == name) {
            return Typed { code: Code::Element(at), ty: element.ty.clone(), member: element.member };
        }
        if let Some((index, member)) = ROOT.find(name) {
            if matches!(member.ty, Type::Objects(_) | Type::Texts) {
                self.note_claim(id, member, name);
            }
            let code = Code::Variable { index, path: name.to_owned() };
            return Typed { code, ty: member.ty.into(), member: Some(member) };
        }
        let known = ROOT.members.iter().map(|m| m.name).chain(self.elements.iter().map(|e| e.name.as_str()));
        let hint = suggestion(name, known);
        self.report(
            id,
            Problem::error("unknown-variable", format!("There is no variable `{}`", printable(name, 64)))
                .hint(hint.unwrap_or_else(|| "`veriboot policy variables` lists all of them".to_owned())),
        );
        Typed::wrong()
    }

    /// Path of an expression in words: `images[].path`.
    fn path(&self, code: &Code) -> String {
        match code {
            Code::Variable { path, .. } | Code::Member { path, .. } | Code::At { path, .. } => path.clone(),
            Code::Element(at) => self.elements.get(*at).map(|e| e.path.clone()).unwrap_or_default(),
            _ => "(…)".to_owned(),
        }
    }

    fn member(&mut self, id: u64, schema: &'static Schema, name: &str) -> Option<(usize, &'static Member)> {
        let found = schema.find(name);
        if found.is_none() {
            let hint = suggestion(name, schema.members.iter().map(|m| m.name)).unwrap_or_else(|| {
                let names: Vec<&str> = schema.members.iter().map(|m| m.name).collect();
                format!("it has {}", names.join(", "))
            });
            let message = format!("`{}` has no member `{}`", schema.name, printable(name, 64));
            self.report(id, Problem::error("unknown-variable", message).hint(hint));
        }
        found
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Typed {
        let of = self.expression(&select.operand);
        match of.ty.clone() {
            Ty::Record(schema) => {
                let Some((index, member)) = self.member(id, schema, &select.field) else {
                    return Typed::wrong();
                };
                if select.test {
                    return Typed::new(Code::HasMember { of: boxed(of), index }, Ty::Bool);
                }
                let path = format!("{}.{}", self.path(&of.code), member.name);
                self.note_claim(id, member, &path);
                let code = Code::Member { of: boxed(of), index, path };
                Typed { code, ty: member.ty.into(), member: Some(member) }
            }
            Ty::Numbers => {
                let key = Box::new(Code::Text(select.field.clone()));
                if select.test {
                    return Typed::new(Code::HasKey { of: boxed(of), key }, Ty::Bool);
                }
                let path = format!("{}.{}", self.path(&of.code), printable(&select.field, 64));
                Typed::new(Code::At { of: boxed(of), key, path }, Ty::Int)
            }
            Ty::Wrong => of,
            ty => self.type_error(
                id,
                format!("{ty} has no members, so there is no `.{}`", printable(&select.field, 64)),
            ),
        }
    }

    fn note_claim(&mut self, id: u64, member: &'static Member, path: &str) {
        let record = matches!(member.ty, Type::Object(_));
        let known = self.notes.iter().any(|note| note.message.starts_with(&format!("`{path}` ")));
        if member.basis == Basis::Claim && !record && !known && self.notes.len() < MAX_PROBLEMS {
            let note = Problem::new(
                "rests-on-a-claim",
                Level::Note,
                format!("`{path}` is what the log calls it; no digest covers these words"),
            )
            .hint("compare a digest, or keep a baseline beside the condition: then the words cannot be exchanged");
            self.notes.push(note.at(self.parsed.place(id)));
        }
    }
}
