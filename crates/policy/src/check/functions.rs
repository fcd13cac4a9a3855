//! Functions and methods.

use cel::common::ast::{Expr, IdedExpr, LiteralValue};

use super::{Checker, Ty, Typed, boxed};
use crate::code::{Code, Search};
use crate::limits::MAX_PATTERN_BYTES;
use crate::problem::{Problem, printable};

impl Checker<'_> {
    pub(super) fn size(&mut self, of: &IdedExpr) -> Typed {
        let typed = self.expression(of);
        match typed.ty {
            Ty::Text | Ty::List(_) | Ty::Numbers => Typed::new(Code::Size(boxed(typed)), Ty::Int),
            Ty::Wrong => typed,
            ty => self.type_error(of.id, format!("{ty} has no size")),
        }
    }

    pub(super) fn convert(&mut self, of: &IdedExpr, to: Ty) -> Typed {
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

    pub(super) fn method(&mut self, id: u64, target: &IdedExpr, name: &str, args: &[IdedExpr]) -> Typed {
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
}
