//! Finds mistakes in an expression before the first item is asked about: names that there are not,
//! and patterns that are none.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue};

use crate::expression::Patterns;
use crate::variables;

/// Types, which are values too: `type(size) == int`.
const TYPES: [&str; 10] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// Functions of CEL's library. Macros are gone when an expression is read, and operators have names
/// like `_==_`.
const LIBRARY: [&str; 21] = [
    "size",
    "timestamp",
    "duration",
    "type",
    "dyn",
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "getFullYear",
    "getMonth",
    "getDayOfYear",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

/// Functions that there are without the library: those on texts, and ours.
const OTHERS: [&str; 7] =
    ["contains", "startsWith", "endsWith", "matches", "glob", "lower", "domain"];

/// What an expression needs to be evaluated.
#[derive(Debug, PartialEq)]
pub(crate) struct Needs {
    /// The fields of `item` that it names; `None` if it asks for `item` as a whole.
    pub(crate) fields: Option<BTreeSet<String>>,
    /// Functions and types of the library: operators and macros are none.
    pub(crate) library: bool,
}

/// Says what is wrong with an expression, or else what it needs.
pub(crate) fn check(expression: &IdedExpr, patterns: &Patterns) -> Result<Needs, String> {
    let needs = Needs { fields: Some(BTreeSet::new()), library: false };
    let mut check = Check { needs, patterns, bound: Vec::new() };
    check.expression(expression)?;
    Ok(check.needs)
}

struct Check<'a> {
    needs: Needs,
    patterns: &'a Patterns,
    /// Names that macros bind around the place.
    bound: Vec<&'a str>,
}

impl<'a> Check<'a> {
    fn expression(&mut self, expression: &'a IdedExpr) -> Result<(), String> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                // A macro may bind the name to something else: then there is a field too many.
                if matches!(&select.operand.expr, Expr::Ident(name) if name == "item") {
                    self.needs.fields.as_mut().map(|fields| fields.insert(select.field.clone()));
                    return Ok(());
                }
                self.expression(&select.operand)
            }
            Expr::List(list) => list.elements.iter().try_for_each(|one| self.expression(one)),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => {
                let before = self.bound.len();
                self.expression(&comprehension.iter_range)?;
                self.expression(&comprehension.accu_init)?;
                self.bound.extend([&*comprehension.iter_var, &*comprehension.accu_var]);
                self.bound.extend(comprehension.iter_var2.as_deref());
                self.expression(&comprehension.loop_cond)?;
                self.expression(&comprehension.loop_step)?;
                self.expression(&comprehension.result)?;
                self.bound.truncate(before);
                Ok(())
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(of) => of.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr) -> Result<(), String> {
        match entry {
            EntryExpr::StructField(field) => self.expression(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.expression(&entry.key)?;
                self.expression(&entry.value)
            }
        }
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        if name == "item" {
            self.needs.fields = None;
        }
        self.needs.library |= TYPES.contains(&name);
        let known = self.bound.contains(&name)
            || variables::NAMES.contains(&name)
            || TYPES.contains(&name)
            // Of the library's own making.
            || name.starts_with('@');
        if known {
            return Ok(());
        }
        Err(format!("there is no variable `{name}`; there are {}", variables::NAMES.join(", ")))
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<(), String> {
        let name = call.func_name.as_str();
        self.needs.library |= LIBRARY.contains(&name);
        let is_function = name.starts_with(|first: char| first.is_ascii_alphabetic());
        if is_function && !LIBRARY.contains(&name) && !OTHERS.contains(&name) {
            return Err(format!("there is no function `{name}`"));
        }
        if name == "matches"
            && let Some(Expr::Literal(LiteralValue::String(pattern))) =
                call.args.last().map(|last| &last.expr)
        {
            self.patterns.get(pattern.inner()).map_err(|error| error.to_string())?;
        }
        if let Some(target) = &call.target {
            self.expression(target)?;
        }
        call.args.iter().try_for_each(|argument| self.expression(argument))
    }
}
