//! The type checker: from the syntax tree to [`Code`], or what is wrong and where.

use std::fmt;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use crate::code::{Code, Macro, Operator, Order, Search};
use crate::limits::{MAX_LEVELS, MAX_NESTED_MACROS, MAX_PATTERN_BYTES, MAX_PROBLEMS};
use crate::problem::{Level, Problem, printable};
use crate::syntax::Parsed;
use crate::variables::{Basis, Member, ROOT, Schema, Type};

/// Type of an expression.
#[derive(Clone, Debug)]
pub(crate) enum Ty {
    Bool,
    Int,
    Text,
    List(Box<Self>),
    Numbers,
    Record(&'static Schema),
    Optional(Box<Self>),
    /// Elements of the empty list.
    Nothing,
    /// Something wrong that was reported.
    Wrong,
}

impl From<Type> for Ty {
    fn from(ty: Type) -> Self {
        match ty {
            Type::Bool => Self::Bool,
            Type::Int => Self::Int,
            Type::Text => Self::Text,
            Type::Texts => Self::List(Box::new(Self::Text)),
            Type::Numbers => Self::Numbers,
            Type::Object(schema) => Self::Record(schema),
            Type::Objects(schema) => Self::List(Box::new(Self::Record(schema))),
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Text => f.write_str("string"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Numbers => f.write_str("map(string, int)"),
            Self::Record(schema) => f.write_str(schema.name),
            Self::Optional(of) => write!(f, "optional({of})"),
            Self::Nothing => f.write_str("nothing"),
            Self::Wrong => f.write_str("unknown"),
        }
    }
}

impl Ty {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Wrong | Self::Nothing, _) | (_, Self::Wrong | Self::Nothing) => true,
            (Self::Bool, Self::Bool) | (Self::Int, Self::Int) | (Self::Text, Self::Text) => true,
            (Self::Numbers, Self::Numbers) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.same(b),
            (Self::Record(a), Self::Record(b)) => std::ptr::eq(*a, *b),
            _ => false,
        }
    }

    fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong)
    }

    /// Whether `==` makes sense.
    fn comparable(&self) -> bool {
        match self {
            Self::Bool | Self::Int | Self::Text | Self::Nothing | Self::Wrong => true,
            Self::List(of) => of.comparable(),
            Self::Numbers | Self::Record(_) | Self::Optional(_) => false,
        }
    }
}

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

    fn call(&mut self, id: u64, call: &CallExpr) -> Typed {
        if let Some(target) = &call.target {
            return self.method(id, target, &call.func_name, &call.args);
        }
        let order = |order| Some(order);
        let compare = match call.func_name.as_str() {
            operators::LESS => order(Order::Less),
            operators::LESS_EQUALS => order(Order::LessOrEqual),
            operators::GREATER => order(Order::Greater),
            operators::GREATER_EQUALS => order(Order::GreaterOrEqual),
            _ => None,
        };
        let arithmetic = match call.func_name.as_str() {
            operators::ADD => Some(Operator::Add),
            operators::SUBSTRACT => Some(Operator::Subtract),
            operators::MULTIPLY => Some(Operator::Multiply),
            operators::DIVIDE => Some(Operator::Divide),
            operators::MODULO => Some(Operator::Remainder),
            _ => None,
        };
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) => {
                let (a, b) = (
                    self.of_type(a, &Ty::Bool, "The left of `&&`"),
                    self.of_type(b, &Ty::Bool, "The right of `&&`"),
                );
                Typed::new(Code::And(boxed(a), boxed(b)), Ty::Bool)
            }
            (operators::LOGICAL_OR, [a, b]) => {
                let (a, b) = (
                    self.of_type(a, &Ty::Bool, "The left of `||`"),
                    self.of_type(b, &Ty::Bool, "The right of `||`"),
                );
                Typed::new(Code::Either(boxed(a), boxed(b)), Ty::Bool)
            }
            (operators::LOGICAL_NOT, [a]) => {
                let a = self.of_type(a, &Ty::Bool, "What follows `!`");
                Typed::new(Code::Not(boxed(a)), Ty::Bool)
            }
            (operators::NEGATE, [a]) => {
                let a = self.of_type(a, &Ty::Int, "What follows `-`");
                let left = Box::new(Code::Int(0));
                Typed::new(Code::Arithmetic { operator: Operator::Subtract, left, right: boxed(a) }, Ty::Int)
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let condition = self.of_type(condition, &Ty::Bool, "What stands before `?`");
                let (then, otherwise_id) = (self.expression(then), otherwise.id);
                let otherwise = self.expression(otherwise);
                if !then.ty.same(&otherwise.ty) {
                    return self.type_error(
                        otherwise_id,
                        format!("One side of `:` is {}, the other is {}", then.ty, otherwise.ty),
                    );
                }
                let ty = if then.ty.is_wrong() { otherwise.ty.clone() } else { then.ty.clone() };
                let code =
                    Code::If { condition: boxed(condition), then: boxed(then), otherwise: boxed(otherwise) };
                Typed::new(code, ty)
            }
            (operators::EQUALS, [a, b]) => self.equal(id, a, b, false),
            (operators::NOT_EQUALS, [a, b]) => self.equal(id, a, b, true),
            (operators::IN, [what, of]) => self.is_in(id, what, of),
            (operators::INDEX, [of, key]) => self.at(of, key, false),
            (operators::OPT_INDEX, [of, key]) => self.at(of, key, true),
            (operators::OPT_SELECT, [of, field]) => self.optional_member(id, of, field),
            ("size", [of]) => self.size(of),
            ("int", [of]) => self.convert(of, Ty::Int),
            ("string", [of]) => self.convert(of, Ty::Text),
            (_, [left, right]) if compare.is_some() => {
                let (a, b) = (self.expression(left), self.expression(right));
                let ordered = |ty: &Ty| matches!(ty, Ty::Int | Ty::Text | Ty::Wrong);
                if !ordered(&a.ty) || !ordered(&b.ty) || !a.ty.same(&b.ty) {
                    return self.type_error(id, format!("{} and {} have no order", a.ty, b.ty));
                }
                let order = compare.unwrap_or(Order::Less);
                Typed::new(Code::Compare { order, left: boxed(a), right: boxed(b) }, Ty::Bool)
            }
            (_, [left, right]) if arithmetic.is_some() => {
                let (left, right) = (
                    self.of_type(left, &Ty::Int, "The left operand"),
                    self.of_type(right, &Ty::Int, "The right operand"),
                );
                let operator = arithmetic.unwrap_or(Operator::Add);
                Typed::new(Code::Arithmetic { operator, left: boxed(left), right: boxed(right) }, Ty::Int)
            }
            (name, args) => self.unknown_function(id, name, args.len()),
        }
    }

    fn unknown_function(&mut self, id: u64, name: &str, args: usize) -> Typed {
        const KNOWN: [&str; 17] = [
            "size",
            "int",
            "string",
            "has",
            "contains",
            "startsWith",
            "endsWith",
            "matches",
            "all",
            "exists",
            "exists_one",
            "filter",
            "map",
            "orValue",
            "hasValue",
            "in",
            "existsOne",
        ];
        let message = match KNOWN.contains(&name) {
            true => format!("`{name}` is not used so, with {args} argument(s)"),
            false => format!("There is no function `{}`", printable(name, 64)),
        };
        let hint = suggestion(name, KNOWN.into_iter())
            .unwrap_or_else(|| "docs/policies.md lists all of them".to_owned());
        self.report(id, Problem::error("unknown-function", message).hint(hint));
        Typed::wrong()
    }

    fn equal(&mut self, id: u64, left: &IdedExpr, right: &IdedExpr, negated: bool) -> Typed {
        let (a, b) = (self.expression(left), self.expression(right));
        if !a.ty.same(&b.ty) {
            return self.type_error(id, format!("{} and {} are never equal", a.ty, b.ty));
        }
        if !a.ty.comparable() || !b.ty.comparable() {
            return self
                .type_error(id, format!("{} cannot be compared with `==`; compare its members", a.ty));
        }
        for (word, of, at) in [(&a, &b, left.id), (&b, &a, right.id)] {
            if let Code::Text(word) = &word.code {
                self.check_word(at, word, of.member);
            }
        }
        let code = Code::Equal(boxed(a), boxed(b));
        Typed::new(if negated { Code::Not(Box::new(code)) } else { code }, Ty::Bool)
    }

    /// A word that a variable can never be is a mistake.
    fn check_word(&mut self, id: u64, word: &str, member: Option<&'static Member>) {
        let Some(member) = member else { return };
        let words = (member.words)();
        if !words.is_empty() && !words.contains(&word) {
            let message = format!("`{}` is never \"{}\"", member.name, printable(word, 64));
            let hint = suggestion(word, words.iter().copied())
                .unwrap_or_else(|| format!("it is one of {}", words.join(", ")));
            self.report(id, Problem::error("unknown-word", message).hint(hint));
        }
    }

    fn is_in(&mut self, id: u64, what: &IdedExpr, of: &IdedExpr) -> Typed {
        let (item, container) = (self.expression(what), self.expression(of));
        let element = match &container.ty {
            Ty::List(element) => (**element).clone(),
            Ty::Numbers => Ty::Text,
            Ty::Wrong => return Typed::wrong(),
            ty => return self.type_error(of.id, format!("`in` looks into a list or map, not into {ty}")),
        };
        if !item.ty.same(&element) {
            return self.type_error(id, format!("{} is never in {}", item.ty, container.ty));
        }
        if !item.ty.comparable() {
            return self.type_error(id, format!("{} cannot be looked for; use `exists`", item.ty));
        }
        if let Code::List(words) = &container.code {
            for word in words {
                if let Code::Text(word) = word {
                    self.check_word(of.id, word, item.member);
                }
            }
        }
        Typed::new(Code::In { what: boxed(item), of: boxed(container) }, Ty::Bool)
    }

    fn at(&mut self, of: &IdedExpr, key: &IdedExpr, optional: bool) -> Typed {
        let container = self.expression(of);
        let (key_type, ty, member) = match &container.ty {
            Ty::List(element) => (Ty::Int, (**element).clone(), container.member),
            Ty::Numbers => (Ty::Text, Ty::Int, None),
            Ty::Wrong => return Typed::wrong(),
            ty => return self.type_error(of.id, format!("{ty} has no elements")),
        };
        let key = self.of_type(key, &key_type, "What stands in brackets");
        let path = match &key.code {
            Code::Text(key) => format!("{}['{}']", self.path(&container.code), printable(key, 64)),
            Code::Int(index) => format!("{}[{index}]", self.path(&container.code)),
            _ => format!("{}[…]", self.path(&container.code)),
        };
        let (of, key) = (boxed(container), boxed(key));
        match optional {
            true => Typed::new(Code::OptionalAt { of, key }, Ty::Optional(Box::new(ty))),
            false => Typed { code: Code::At { of, key, path }, ty, member },
        }
    }

    fn optional_member(&mut self, id: u64, of: &IdedExpr, field: &IdedExpr) -> Typed {
        let Expr::Literal(LiteralValue::String(field)) = &field.expr else {
            return self.unsupported(id, "This optional member");
        };
        let record = self.expression(of);
        match record.ty {
            Ty::Record(schema) => {
                let Some((index, member)) = self.member(id, schema, field.inner()) else {
                    return Typed::wrong();
                };
                let path = format!("{}.{}", self.path(&record.code), member.name);
                self.note_claim(id, member, &path);
                let ty = Ty::Optional(Box::new(member.ty.into()));
                let code = Code::OptionalMember { of: boxed(record), index };
                Typed { code, ty, member: Some(member) }
            }
            Ty::Wrong => record,
            ty => self.type_error(
                id,
                format!("{ty} has no members, so there is no `.?{}`", printable(field.inner(), 64)),
            ),
        }
    }

    fn size(&mut self, of: &IdedExpr) -> Typed {
        let typed = self.expression(of);
        match typed.ty {
            Ty::Text | Ty::List(_) | Ty::Numbers => Typed::new(Code::Size(boxed(typed)), Ty::Int),
            Ty::Wrong => typed,
            ty => self.type_error(of.id, format!("{ty} has no size")),
        }
    }

    fn convert(&mut self, of: &IdedExpr, to: Ty) -> Typed {
        let typed = self.expression(of);
        match (&typed.ty, &to) {
            (Ty::Int, Ty::Int) | (Ty::Text, Ty::Text) | (Ty::Wrong, _) => typed,
            (Ty::Text, Ty::Int) => Typed::new(Code::ToInt(boxed(typed)), to),
            (Ty::Int | Ty::Bool, Ty::Text) => Typed::new(Code::ToText(boxed(typed)), to),
            (ty, to) => {
                let message = format!("{ty} cannot be made {to}");
                self.type_error(of.id, message)
            }
        }
    }

    fn method(&mut self, id: u64, target: &IdedExpr, name: &str, args: &[IdedExpr]) -> Typed {
        let search = match name {
            "contains" => Some(Search::Contains),
            "startsWith" => Some(Search::StartsWith),
            "endsWith" => Some(Search::EndsWith),
            _ => None,
        };
        match (name, args) {
            (_, [part]) if search.is_some() => {
                let text = self.of_type(target, &Ty::Text, &format!("What `{name}` is asked of"));
                let part = self.of_type(part, &Ty::Text, &format!("What `{name}` looks for"));
                let kind = search.unwrap_or(Search::Contains);
                Typed::new(Code::Search { kind, text: boxed(text), part: boxed(part) }, Ty::Bool)
            }
            ("matches", [pattern]) => self.matches(target, pattern),
            ("size", []) => self.size(target),
            ("hasValue", []) => {
                let of = self.expression(target);
                match of.ty {
                    Ty::Optional(_) => Typed::new(Code::HasValue(boxed(of)), Ty::Bool),
                    Ty::Wrong => of,
                    ty => self
                        .type_error(target.id, format!("{ty} is not optional; write `.?` before the member")),
                }
            }
            ("orValue", [default]) => {
                let of = self.expression(target);
                match of.ty.clone() {
                    Ty::Optional(inner) => {
                        let default = self.of_type(default, &inner, "The value that stands in");
                        let code = Code::Or { of: boxed(of), default: boxed(default) };
                        Typed::new(code, *inner)
                    }
                    Ty::Wrong => of,
                    ty => self
                        .type_error(target.id, format!("{ty} is not optional; write `.?` before the member")),
                }
            }
            _ => self.unknown_function(id, name, args.len()),
        }
    }

    /// Patterns are compiled once, so they are written out in the condition.
    fn matches(&mut self, target: &IdedExpr, pattern: &IdedExpr) -> Typed {
        let text = self.of_type(target, &Ty::Text, "What `matches` is asked of");
        let Expr::Literal(LiteralValue::String(source)) = &pattern.expr else {
            self.report(
                pattern.id,
                Problem::error("bad-pattern", "The pattern of `matches` must be written out, not computed"),
            );
            return Typed::wrong();
        };
        let compiled = regex::RegexBuilder::new(source.inner())
            .size_limit(MAX_PATTERN_BYTES)
            .dfa_size_limit(MAX_PATTERN_BYTES)
            .nest_limit(16)
            .build();
        match compiled {
            Ok(pattern) => Typed::new(Code::Matches { text: boxed(text), pattern }, Ty::Bool),
            Err(error) => {
                let said = error.to_string();
                let last = said.lines().next_back().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("The pattern cannot be used: {}", printable(last, 200));
                self.report(
                    pattern.id,
                    Problem::error("bad-pattern", message).hint(
                        "patterns are those of RE2, without look-around; write `\\\\d` or r'\\d' for a digit",
                    ),
                );
                Typed::wrong()
            }
        }
    }

    fn comprehension(&mut self, id: u64, written: &ComprehensionExpr) -> Typed {
        let Some(shape) = Shape::of(written) else { return self.unsupported(id, "This macro") };
        let list = self.expression(&written.iter_range);
        let element = match &list.ty {
            Ty::List(element) => (**element).clone(),
            Ty::Numbers => Ty::Text,
            Ty::Wrong => return Typed::wrong(),
            ty => {
                let message = format!("Only lists and maps have elements to look at, not {ty}");
                return self.type_error(written.iter_range.id, message);
            }
        };
        if self.elements.len() >= MAX_NESTED_MACROS {
            self.report(
                id,
                Problem::error(
                    "too-deep",
                    format!("More than {MAX_NESTED_MACROS} macros are inside one another"),
                )
                .hint("split it into several conditions"),
            );
            return Typed::wrong();
        }
        if ROOT.find(&written.iter_var).is_some() || self.elements.iter().any(|e| e.name == written.iter_var)
        {
            let message = format!("`{}` is the name of a variable already", printable(&written.iter_var, 64));
            self.report(
                id,
                Problem::error("name-taken", message).hint("choose another name for the element"),
            );
            return Typed::wrong();
        }
        let path = format!("{}[]", self.path(&list.code));
        let member = list.member;
        self.elements.push(Element { name: written.iter_var.clone(), ty: element, member, path });
        let filter = shape.filter.map(|filter| self.of_type(filter, &Ty::Bool, "The filter"));
        let body = match shape.kind {
            Macro::Collect => self.expression(shape.body),
            _ => self.of_type(shape.body, &Ty::Bool, "What is asked of each element"),
        };
        self.elements.pop();
        let ty = match shape.kind {
            Macro::Collect => Ty::List(Box::new(body.ty.clone())),
            _ => Ty::Bool,
        };
        let member = if matches!(shape.body.expr, Expr::Ident(_)) { member } else { body.member };
        let code =
            Code::Macro { kind: shape.kind, list: boxed(list), filter: filter.map(boxed), body: boxed(body) };
        Typed { code, ty, member: member.filter(|_| shape.kind == Macro::Collect) }
    }
}

/// What a macro was before the parser expanded it.
struct Shape<'a> {
    kind: Macro,
    filter: Option<&'a IdedExpr>,
    body: &'a IdedExpr,
}

impl<'a> Shape<'a> {
    fn of(written: &'a ComprehensionExpr) -> Option<Self> {
        let Expr::Call(step) = &written.loop_step.expr else { return None };
        let accumulator =
            |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if *name == written.accu_var);
        let appended = |expr: &'a IdedExpr| match &expr.expr {
            Expr::Call(call) if call.func_name == operators::ADD => match call.args.as_slice() {
                [left, IdedExpr { expr: Expr::List(list), .. }] if accumulator(left) => {
                    match list.elements.as_slice() {
                        [one] => Some(one),
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        };
        match (&written.accu_init.expr, step.func_name.as_str(), step.args.as_slice()) {
            (Expr::Literal(LiteralValue::Boolean(start)), operators::LOGICAL_OR, [left, body])
                if !*start.inner() && accumulator(left) =>
            {
                Some(Self { kind: Macro::Exists, filter: None, body })
            }
            (Expr::Literal(LiteralValue::Boolean(start)), operators::LOGICAL_AND, [left, body])
                if *start.inner() && accumulator(left) =>
            {
                Some(Self { kind: Macro::All, filter: None, body })
            }
            (Expr::Literal(LiteralValue::Int(_)), operators::CONDITIONAL, [body, _, last])
                if accumulator(last) =>
            {
                Some(Self { kind: Macro::ExistsOne, filter: None, body })
            }
            (Expr::List(_), operators::CONDITIONAL, [filter, then, last]) if accumulator(last) => {
                Some(Self { kind: Macro::Collect, filter: Some(filter), body: appended(then)? })
            }
            (Expr::List(_), operators::ADD, _) => {
                Some(Self { kind: Macro::Collect, filter: None, body: appended(&written.loop_step)? })
            }
            _ => None,
        }
    }
}

/// The known name that is closest to a mistyped one.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    if name.len() > 64 {
        return None;
    }
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// Edits from one word to another.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), i + 1);
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let best = (diagonal + usize::from(x != *y)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
    }
    row.last().copied().unwrap_or_default()
}
