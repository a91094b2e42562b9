//! An expression and its functions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cel::common::functions::Function;
use cel::common::types::{CelBool, CelString, STRING_TYPE};
use cel::common::value::CowVal;
use cel::extractors::This;
use cel::parser::PrattParser;
use cel::{Context, DeclarationError, Env, ExecutionError, IdedExpr, ParseErrors, Value};
use regex::Regex;
use tar365_plugin::Item;
use wildmatch::WildMatch;

use crate::check::{self, Needs};
use crate::variables;

/// An expression that is ready to be asked.
pub(crate) struct Expression {
    /// As the operator wrote it, for messages.
    text: String,
    program: IdedExpr,
    needs: Needs,
    patterns: Patterns,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl Expression {
    /// Reads an expression, and says where it is none.
    pub(crate) fn new(text: String) -> Result<Self, String> {
        // The library's other parser sets itself up in a millisecond, and would for every item.
        let program = PrattParser::new().parse(&text).map_err(|errors| first(&errors))?;
        let patterns = Patterns::default();
        let needs = check::check(&program, &patterns)?;
        Ok(Expression { text, program, needs, patterns })
    }

    /// What it says of an item. An error if it can't say, because a value is missing or has
    /// another type.
    pub(crate) fn evaluate(&self, item: &Item) -> Result<bool, String> {
        let error = |what: String| format!("the expression `{}`: {what}", self.text);
        // To declare all of the library takes longer than all else, and few expressions need it.
        let language = if self.needs.library { Ok(Env::stdlib()) } else { functions_on_texts() };
        let conflict = |conflict: DeclarationError| error(conflict.to_string());
        let mut context = Context::with_env(Arc::new(language.map_err(conflict)?));
        self.add_functions(&mut context).map_err(conflict)?;
        let references = self.program.references();
        for (name, value) in variables::of(item, &self.needs, |name| references.has_variable(name))
        {
            context.add_variable_from_value(name, value);
        }
        match context.resolve(&self.program) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(other) => Err(error(format!("is a {}, not true or false", other.type_of()))),
            Err(ExecutionError::NoSuchKey(name)) => {
                Err(error(format!("there is no `{name}`; ask has() first")))
            }
            Err(cause) => Err(error(cause.to_string())),
        }
    }

    fn add_functions(&self, context: &mut Context<'_, '_>) -> Result<(), cel::DeclarationError> {
        let patterns = self.patterns.clone();
        context.add_function(
            "matches",
            move |This(text): This<Arc<String>>, pattern: Arc<String>| {
                let regex = patterns.get(&pattern);
                regex
                    .map(|regex| regex.is_match(&text))
                    .map_err(|error| ExecutionError::function_error("matches", error))
            },
        )?;
        context.add_function("glob", |This(text): This<Arc<String>>, pattern: Arc<String>| {
            WildMatch::new_case_insensitive(&pattern).matches(&text)
        })?;
        context.add_function("lower", |This(text): This<Arc<String>>| text.to_lowercase())?;
        context.add_function("domain", |This(address): This<Arc<String>>| {
            address.rsplit_once('@').map_or(String::new(), |(_, domain)| domain.to_lowercase())
        })
    }
}

/// The first mistake; those that follow mostly follow from it.
fn first(errors: &ParseErrors) -> String {
    errors.errors.first().map_or_else(String::new, |error| {
        format!("line {}, column {}: {}", error.pos.0, error.pos.1, error.msg)
    })
}

/// The functions of the library that expressions about mails and files use most.
fn functions_on_texts() -> Result<Env, DeclarationError> {
    let functions: [(&str, Function); 3] = [
        ("contains", |texts| compare(&texts, |text, part| text.contains(part))),
        ("startsWith", |texts| compare(&texts, |text, part| text.starts_with(part))),
        ("endsWith", |texts| compare(&texts, |text, part| text.ends_with(part))),
    ];
    let mut env = Env::default();
    for (name, function) in functions {
        env.add_member_overload(name, name, STRING_TYPE, vec![STRING_TYPE], function)?;
    }
    Ok(env)
}

fn compare<'v>(
    texts: &[CowVal<'_, '_>],
    fits: fn(&str, &str) -> bool,
) -> Result<CowVal<'v, 'v>, ExecutionError> {
    let text = |index: usize| texts.get(index)?.downcast_ref::<CelString>();
    let (Some(text), Some(part)) = (text(0), text(1)) else {
        return Err(ExecutionError::InvalidArgumentCount { expected: 2, actual: texts.len() });
    };
    Ok(CowVal::owned(CelBool::from(fits(text.inner(), part.inner()))))
}

/// Regular expressions that are compiled: those of macros are asked many times.
#[derive(Clone, Default)]
pub(crate) struct Patterns(Arc<Mutex<BTreeMap<String, Regex>>>);

impl Patterns {
    /// The pattern, compiled now if it was not before.
    pub(crate) fn get(&self, pattern: &str) -> Result<Regex, regex::Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = Regex::new(pattern)?;
        known.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }
}
