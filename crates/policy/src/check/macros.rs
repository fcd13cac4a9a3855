//! Macros over lists: `all`, `exists`, `exists_one`, `filter` and `map`.

use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};

use super::{Checker, Element, Ty, Typed, boxed};
use crate::code::{Code, Macro};
use crate::limits::MAX_NESTED_MACROS;
use crate::problem::{Problem, printable};
use crate::variables::ROOT;

impl Checker<'_> {
    pub(super) fn comprehension(&mut self, id: u64, written: &ComprehensionExpr) -> Typed {
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
