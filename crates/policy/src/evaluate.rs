//! Evaluation: counted step by step, without panics, and closed: what is absent is no value.
//!
//! As in CEL, `&&` and `||` do not care about a side that cannot be evaluated when the other one decides, and `all` and
//! `exists` are such chains.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::code::{Code, Macro, Operator, Order, Search};
use crate::fact::{Fact, Record};
use crate::limits::{MAX_SEEN_CHARS, MAX_STEPS};
use crate::problem::printable;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Data is absent.
    #[error("`{0}` is absent")]
    Absent(String),
    /// A number does not fit, a division by zero, a text that is no number.
    #[error("{0}")]
    Value(&'static str),
    /// It takes too long.
    #[error("it takes more than {MAX_STEPS} steps")]
    Steps,
}

/// A value during evaluation; what is in the facts is borrowed.
#[derive(Clone, Debug)]
enum Value<'a> {
    Bool(bool),
    Int(i64),
    Text(Cow<'a, str>),
    Fact(&'a Fact),
    List(Rc<Vec<Self>>),
    Optional(Option<Box<Self>>),
}

impl<'a> From<&'a Fact> for Value<'a> {
    fn from(fact: &'a Fact) -> Self {
        match fact {
            Fact::Bool(value) => Self::Bool(*value),
            Fact::Int(value) => Self::Int(*value),
            Fact::Text(text) => Self::Text(Cow::Borrowed(text)),
            fact => Self::Fact(fact),
        }
    }
}

/// Top-level variables, by their position in the table.
pub(crate) trait Variables<'a> {
    /// The variable; `None` when it is absent.
    fn variable(&self, index: usize) -> Option<&'a Fact>;
}

impl<'a> Variables<'a> for &'a Record {
    fn variable(&self, index: usize) -> Option<&'a Fact> {
        self.at(index)
    }
}

/// One evaluation.
pub(crate) struct Evaluation<'a, V> {
    variables: V,
    steps: Cell<u32>,
    /// Elements that decided an `all` or `exists`, when somebody wants to know.
    witnesses: Option<RefCell<Vec<String>>>,
    marker: std::marker::PhantomData<&'a ()>,
}

/// Whether a condition is true for these variables.
pub(crate) fn evaluate<'a, V: Variables<'a>>(code: &'a Code, variables: V) -> Result<bool, Fault> {
    let evaluation =
        Evaluation { variables, steps: Cell::new(0), witnesses: None, marker: std::marker::PhantomData };
    evaluation.bool(code, &mut Vec::new())
}

/// [`evaluate`], with the number of steps that it took.
pub(crate) fn evaluate_counted<'a, V: Variables<'a>>(
    code: &'a Code,
    variables: V,
) -> (Result<bool, Fault>, u32) {
    let evaluation =
        Evaluation { variables, steps: Cell::new(0), witnesses: None, marker: std::marker::PhantomData };
    let result = evaluation.bool(code, &mut Vec::new());
    (result, evaluation.steps.get())
}

/// The elements that decided: those for which an `exists` is true or an `all` is false.
pub(crate) fn witnesses<'a, V: Variables<'a>>(code: &'a Code, variables: V) -> Vec<String> {
    let evaluation = Evaluation {
        variables,
        steps: Cell::new(0),
        witnesses: Some(RefCell::new(Vec::new())),
        marker: std::marker::PhantomData,
    };
    let _ = evaluation.bool(code, &mut Vec::new());
    evaluation.witnesses.map(RefCell::into_inner).unwrap_or_default()
}

impl<'a, V: Variables<'a>> Evaluation<'a, V> {
    fn step(&self, count: usize) -> Result<(), Fault> {
        let steps = self.steps.get().saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.steps.set(steps);
        if steps > MAX_STEPS { Err(Fault::Steps) } else { Ok(()) }
    }

    fn bool(&self, code: &'a Code, elements: &mut Vec<Value<'a>>) -> Result<bool, Fault> {
        match self.value(code, elements)? {
            Value::Bool(value) => Ok(value),
            _ => Err(Fault::Value("it is no truth value")),
        }
    }

    fn int(&self, code: &'a Code, elements: &mut Vec<Value<'a>>) -> Result<i64, Fault> {
        match self.value(code, elements)? {
            Value::Int(value) => Ok(value),
            _ => Err(Fault::Value("it is no number")),
        }
    }

    fn text(&self, code: &'a Code, elements: &mut Vec<Value<'a>>) -> Result<Cow<'a, str>, Fault> {
        match self.value(code, elements)? {
            Value::Text(text) => {
                self.step(text.len() / 16)?;
                Ok(text)
            }
            _ => Err(Fault::Value("it is no text")),
        }
    }

    fn value(&self, code: &'a Code, elements: &mut Vec<Value<'a>>) -> Result<Value<'a>, Fault> {
        self.step(1)?;
        let absent = |path: &str| Fault::Absent(path.to_owned());
        Ok(match code {
            Code::Bool(value) => Value::Bool(*value),
            Code::Int(value) => Value::Int(*value),
            Code::Text(text) => Value::Text(Cow::Borrowed(text)),
            Code::Variable { index, path } => {
                self.variables.variable(*index).ok_or_else(|| absent(path))?.into()
            }
            Code::Element(at) => {
                elements.get(*at).cloned().ok_or(Fault::Value("there is no such element"))?
            }
            Code::Member { of, index, path } => {
                self.member(of, *index, elements)?.ok_or_else(|| absent(path))?.into()
            }
            Code::HasMember { of, index } => Value::Bool(self.member(of, *index, elements)?.is_some()),
            Code::OptionalMember { of, index } => {
                Value::Optional(self.member(of, *index, elements)?.map(|fact| Box::new(fact.into())))
            }
            Code::At { of, key, path } => self.at(of, key, elements)?.ok_or_else(|| absent(path))?,
            Code::HasKey { of, key } => Value::Bool(self.at(of, key, elements)?.is_some()),
            Code::OptionalAt { of, key } => Value::Optional(self.at(of, key, elements)?.map(Box::new)),
            Code::Or { of, default } => match self.value(of, elements)? {
                Value::Optional(Some(value)) => *value,
                _ => self.value(default, elements)?,
            },
            Code::HasValue(of) => Value::Bool(matches!(self.value(of, elements)?, Value::Optional(Some(_)))),
            Code::Not(of) => Value::Bool(!self.bool(of, elements)?),
            Code::And(left, right) => Value::Bool(self.decided(left, right, false, elements)?),
            Code::Either(left, right) => Value::Bool(self.decided(left, right, true, elements)?),
            Code::If { condition, then, otherwise } => match self.bool(condition, elements)? {
                true => self.value(then, elements)?,
                false => self.value(otherwise, elements)?,
            },
            Code::Equal(left, right) => {
                let (left, right) = (self.value(left, elements)?, self.value(right, elements)?);
                Value::Bool(self.equal(&left, &right)?)
            }
            Code::Compare { order, left, right } => {
                let (left, right) = (self.value(left, elements)?, self.value(right, elements)?);
                Value::Bool(self.ordered(*order, &left, &right)?)
            }
            Code::In { what, of } => {
                let what = self.value(what, elements)?;
                let of = self.value(of, elements)?;
                if let (Value::Text(key), Value::Fact(Fact::Map(map))) = (&what, &of) {
                    return Ok(Value::Bool(map.contains_key(key.as_ref())));
                }
                let mut found = false;
                self.each(&of, &mut |item| {
                    found = self.equal(&what, &item)?;
                    Ok(!found)
                })?;
                Value::Bool(found)
            }
            Code::Arithmetic { operator, left, right } => {
                let (left, right) = (self.int(left, elements)?, self.int(right, elements)?);
                Value::Int(calculate(*operator, left, right)?)
            }
            Code::Size(of) => Value::Int(self.size(&self.value(of, elements)?)?),
            Code::Search { kind, text, part } => {
                let (text, part) = (self.text(text, elements)?, self.text(part, elements)?);
                Value::Bool(match kind {
                    Search::Contains => text.contains(part.as_ref()),
                    Search::StartsWith => text.starts_with(part.as_ref()),
                    Search::EndsWith => text.ends_with(part.as_ref()),
                })
            }
            Code::Matches { text, pattern } => {
                let text = self.text(text, elements)?;
                // A regular expression takes longer per byte than a comparison.
                self.step(text.len())?;
                Value::Bool(pattern.is_match(&text))
            }
            Code::ToInt(of) => {
                let text = self.text(of, elements)?;
                Value::Int(
                    text.parse()
                        .map_err(|_| Fault::Value("`int` was given a text that is no whole number"))?,
                )
            }
            Code::ToText(of) => match self.value(of, elements)? {
                Value::Int(value) => Value::Text(Cow::Owned(value.to_string())),
                Value::Bool(value) => Value::Text(Cow::Owned(value.to_string())),
                other => other,
            },
            Code::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.value(item, elements)).collect();
                Value::List(Rc::new(items?))
            }
            Code::Macro { kind, list, filter, body } => {
                let list = self.value(list, elements)?;
                return self.macro_over(*kind, &list, filter.as_deref(), body, elements);
            }
        })
    }

    fn member(
        &self,
        of: &'a Code,
        index: usize,
        elements: &mut Vec<Value<'a>>,
    ) -> Result<Option<&'a Fact>, Fault> {
        match self.value(of, elements)? {
            Value::Fact(Fact::Record(record)) => Ok(record.at(index)),
            _ => Err(Fault::Value("it is no record")),
        }
    }

    fn at(
        &self,
        of: &'a Code,
        key: &'a Code,
        elements: &mut Vec<Value<'a>>,
    ) -> Result<Option<Value<'a>>, Fault> {
        let of = self.value(of, elements)?;
        let key = self.value(key, elements)?;
        let position = |at: &i64| usize::try_from(*at).ok();
        Ok(match (&of, &key) {
            (Value::Fact(Fact::Map(map)), Value::Text(key)) => map.get(key.as_ref()).map(Value::from),
            (Value::Fact(Fact::List(list)), Value::Int(at)) => {
                position(at).and_then(|at| list.get(at)).map(Value::from)
            }
            (Value::List(list), Value::Int(at)) => position(at).and_then(|at| list.get(at)).cloned(),
            _ => return Err(Fault::Value("it has no elements")),
        })
    }

    /// `left` or `right` where the value `decides` settles it whatever the other side is.
    fn decided(
        &self,
        left: &'a Code,
        right: &'a Code,
        decides: bool,
        elements: &mut Vec<Value<'a>>,
    ) -> Result<bool, Fault> {
        let first = self.bool(left, elements);
        match first {
            Ok(value) if value == decides => return Ok(decides),
            Err(Fault::Steps) => return Err(Fault::Steps),
            _ => {}
        }
        match (self.bool(right, elements), first) {
            (Ok(value), _) if value == decides => Ok(decides),
            (Err(fault), Ok(_)) | (_, Err(fault)) => Err(fault),
            (Ok(_), Ok(_)) => Ok(!decides),
        }
    }

    fn each(
        &self,
        list: &Value<'a>,
        see: &mut impl FnMut(Value<'a>) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        match list {
            Value::Fact(Fact::List(items)) => {
                for item in items {
                    self.step(1)?;
                    if !see(item.into())? {
                        break;
                    }
                }
            }
            Value::Fact(Fact::Map(map)) => {
                for key in map.keys() {
                    self.step(1)?;
                    if !see(Value::Text(Cow::Borrowed(key)))? {
                        break;
                    }
                }
            }
            Value::List(items) => {
                for item in items.iter() {
                    self.step(1)?;
                    if !see(item.clone())? {
                        break;
                    }
                }
            }
            _ => return Err(Fault::Value("it has no elements")),
        }
        Ok(())
    }

    fn macro_over(
        &self,
        kind: Macro,
        list: &Value<'a>,
        filter: Option<&'a Code>,
        body: &'a Code,
        elements: &mut Vec<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let mut collected = Vec::new();
        let mut count = 0_u32;
        let mut decided = false;
        let mut pending = None;
        self.each(list, &mut |item| {
            elements.push(item);
            let result = match kind {
                Macro::Collect => match filter.map_or(Ok(true), |filter| self.bool(filter, elements)) {
                    Ok(true) => self.value(body, elements).map(|value| {
                        collected.push(value);
                        true
                    }),
                    Ok(false) => Ok(true),
                    Err(fault) => Err(fault),
                },
                Macro::ExistsOne => self.bool(body, elements).map(|found| {
                    count += u32::from(found);
                    true
                }),
                Macro::All | Macro::Exists => match self.bool(body, elements) {
                    Ok(value) => {
                        decided = value == (kind == Macro::Exists);
                        if let (true, Some(item)) = (decided, elements.last()) {
                            self.witness(item);
                        }
                        Ok(!decided)
                    }
                    Err(Fault::Steps) => Err(Fault::Steps),
                    Err(fault) => {
                        pending.get_or_insert(fault);
                        Ok(true)
                    }
                },
            };
            elements.pop();
            result
        })?;
        match (kind, pending) {
            (Macro::Collect, _) => Ok(Value::List(Rc::new(collected))),
            (Macro::ExistsOne, _) => Ok(Value::Bool(count == 1)),
            (Macro::Exists, _) if decided => Ok(Value::Bool(true)),
            (Macro::All, _) if decided => Ok(Value::Bool(false)),
            (_, Some(fault)) => Err(fault),
            (kind, None) => Ok(Value::Bool(kind == Macro::All)),
        }
    }

    fn witness(&self, item: &Value<'a>) {
        let Some(witnesses) = &self.witnesses else { return };
        let mut witnesses = witnesses.borrow_mut();
        if witnesses.len() < 3 {
            witnesses.push(shown(item));
        }
    }

    fn size(&self, of: &Value<'a>) -> Result<i64, Fault> {
        let size = match of {
            Value::Text(text) => {
                self.step(text.len() / 16)?;
                text.chars().count()
            }
            Value::Fact(Fact::List(items)) => items.len(),
            Value::Fact(Fact::Map(map)) => map.len(),
            Value::List(items) => items.len(),
            _ => return Err(Fault::Value("it has no size")),
        };
        Ok(i64::try_from(size).unwrap_or(i64::MAX))
    }

    fn equal(&self, left: &Value<'a>, right: &Value<'a>) -> Result<bool, Fault> {
        self.step(1)?;
        match (left, right) {
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            (Value::Int(a), Value::Int(b)) => Ok(a == b),
            (Value::Text(a), Value::Text(b)) => {
                self.step(a.len().min(b.len()) / 16)?;
                Ok(a == b)
            }
            (Value::Fact(Fact::List(_)) | Value::List(_), Value::Fact(Fact::List(_)) | Value::List(_)) => {
                if self.size(left)? != self.size(right)? {
                    return Ok(false);
                }
                let mut others = Vec::new();
                self.each(right, &mut |item| {
                    others.push(item);
                    Ok(true)
                })?;
                let (mut others, mut same) = (others.into_iter(), true);
                self.each(left, &mut |item| {
                    same = match others.next() {
                        Some(other) => self.equal(&item, &other)?,
                        None => false,
                    };
                    Ok(same)
                })?;
                Ok(same)
            }
            _ => Err(Fault::Value("it cannot be compared")),
        }
    }

    fn ordered(&self, order: Order, left: &Value<'a>, right: &Value<'a>) -> Result<bool, Fault> {
        let ordering = match (left, right) {
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => {
                self.step(a.len().min(b.len()) / 16)?;
                a.cmp(b)
            }
            _ => return Err(Fault::Value("it has no order")),
        };
        Ok(match order {
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
        })
    }
}

fn calculate(operator: Operator, left: i64, right: i64) -> Result<i64, Fault> {
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide | Operator::Remainder if right == 0 => {
            return Err(Fault::Value("a division by zero"));
        }
        Operator::Divide => left.checked_div(right),
        Operator::Remainder => left.checked_rem(right),
    };
    result.ok_or(Fault::Value("a number that does not fit into 64 bits"))
}

/// A value for people.
fn shown(value: &Value<'_>) -> String {
    let text = match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Text(text) => format!("\"{text}\""),
        Value::Fact(fact) => describe(fact),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Optional(_) => String::new(),
    };
    printable(&text, MAX_SEEN_CHARS)
}

/// A fact for people: members that tell something, in the order of the table.
pub(crate) fn describe(fact: &Fact) -> String {
    match fact {
        Fact::Bool(value) => value.to_string(),
        Fact::Int(value) => value.to_string(),
        Fact::Text(text) => format!("\"{text}\""),
        Fact::List(items) => format!("a list of {}", items.len()),
        Fact::Map(map) => format!("a map of {}", map.len()),
        Fact::Record(record) => {
            let members = record.schema().members.iter().enumerate();
            let words = members
                .filter_map(|(at, member)| Some(format!("{} {}", member.name, describe(record.at(at)?))));
            words.collect::<Vec<_>>().join(", ")
        }
    }
}
