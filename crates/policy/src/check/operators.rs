//! Operators, and which function a call is.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::suggest::suggestion;
use super::{Checker, Ty, Typed, boxed};
use crate::code::{Code, Operator, Order};
use crate::problem::{Problem, printable};
use crate::variables::Member;

impl Checker<'_> {
    pub(super) fn call(&mut self, id: u64, call: &CallExpr) -> Typed {
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

    pub(super) fn unknown_function(&mut self, id: u64, name: &str, args: usize) -> Typed {
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
}
