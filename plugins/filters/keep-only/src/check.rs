//! Finds mistakes in an expression before the first item is asked about: names that there are not,
//! and patterns that are none.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue};

use crate::expression::Patterns;
use crate::variables;

/// Types, which are values too: `type(size) == int`.
const TYPES: [&str; 10] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// Functions of CEL and, in the last line, ours. Macros are gone when an expression is read, and
/// operators have names like `_==_`.
const FUNCTIONS: [&str; 28] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
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
    "getMilliseconds", //
    "matches",
    "glob",
    "lower",
    "domain",
];

/// Says what is wrong with an expression.
pub(crate) fn check(expression: &IdedExpr, patterns: &Patterns) -> Result<(), String> {
    Check { patterns, bound: Vec::new() }.expression(expression)
}

struct Check<'a> {
    patterns: &'a Patterns,
    /// Names that macros bind around the place.
    bound: Vec<&'a str>,
}

impl<'a> Check<'a> {
    fn expression(&mut self, expression: &'a IdedExpr) -> Result<(), String> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.expression(&select.operand),
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

    fn name(&self, name: &str) -> Result<(), String> {
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
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) && !FUNCTIONS.contains(&name)
        {
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
