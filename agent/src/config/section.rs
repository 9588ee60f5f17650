//! One table of a TOML file, read key by key, so that whatever is wrong can be named by key and
//! place, and whatever was not asked for is an error.

use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// What is wrong with a configuration's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Byte offset.
    pub(super) at: usize,
    /// The key's full name; empty where the text is not TOML at all.
    pub(super) key: String,
    /// What is wrong, and what to write instead.
    pub(super) message: String,
}

/// A value, with its full key and place for an error message.
#[derive(Debug)]
pub(super) struct Item<T> {
    pub(super) value: T,
    key: String,
    at: usize,
}

impl<T> Item<T> {
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            at: self.at,
            key: self.key.clone(),
            message: message.into(),
        }
    }
}

struct Entry<'i> {
    name: String,
    name_span: Range<usize>,
    value_at: usize,
    value: Option<DeValue<'i>>,
}

/// A table. Every getter takes its key out; [`Section::end`] refuses what is left.
pub(super) struct Section<'i> {
    path: String,
    at: usize,
    entries: Vec<Entry<'i>>,
    asked: Vec<String>,
}

impl<'i> Section<'i> {
    /// The whole file.
    pub(super) fn parse(text: &'i str) -> Result<Self, Fault> {
        let table = DeTable::parse(text).map_err(|e| Fault {
            at: e.span().map_or(0, |s| s.start),
            key: String::new(),
            message: format!("not TOML: {}", e.message()),
        })?;
        Ok(Self::of(String::new(), 0, table.into_inner()))
    }

    /// A table that is not there: every key of it is missing.
    pub(super) fn absent(path: &str) -> Self {
        Self::of(path.to_owned(), 0, DeTable::new())
    }

    fn of(path: String, at: usize, table: DeTable<'i>) -> Self {
        let entries = table
            .into_iter()
            .map(|(name, value)| Entry {
                name_span: name.span(),
                name: name.into_inner().into_owned(),
                value_at: value.span().start,
                value: Some(value.into_inner()),
            })
            .collect();
        Self {
            path,
            at,
            entries,
            asked: Vec::new(),
        }
    }

    /// The names of all keys, in the order of the alphabet.
    pub(super) fn names(&self) -> Vec<String> {
        self.entries.iter().map(|e| e.name.clone()).collect()
    }

    /// A table under this one.
    pub(super) fn section(&mut self, name: &str) -> Result<Option<Section<'i>>, Fault> {
        let at = self.place(name);
        match self.take(name) {
            None => Ok(None),
            Some(Item {
                value: DeValue::Table(table),
                key,
                ..
            }) => Ok(Some(Self::of(key, at, table))),
            Some(other) => Err(wrong_kind(&other, "a table")),
        }
    }

    /// A string.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<Item<String>>, Fault> {
        self.take(name).map(text).transpose()
    }

    /// An array of strings.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<Item<String>>>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Item {
                value: DeValue::Array(array),
                key,
                ..
            }) => array
                .into_iter()
                .map(|v| {
                    let at = v.span().start;
                    text(Item {
                        value: v.into_inner(),
                        key: key.clone(),
                        at,
                    })
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(wrong_kind(&other, "a list of strings")),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Item {
                value: DeValue::Boolean(flag),
                ..
            }) => Ok(Some(flag)),
            Some(other) => Err(wrong_kind(&other, "true or false")),
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Fault> {
        let Some(found) = self.text(name)? else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == found.value) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let known: Vec<_> = words.iter().map(|(w, _)| format!("\"{w}\"")).collect();
                Err(found.fault(format!(
                    "\"{}\" is not known; write {}",
                    found.value.escape_debug(),
                    known.join(" or ")
                )))
            }
        }
    }

    /// Something is wrong with a key of this table, be it there or not.
    pub(super) fn fault(&self, name: &str, message: impl Into<String>) -> Fault {
        Fault {
            at: self.place(name),
            key: self.full(name),
            message: message.into(),
        }
    }

    /// Refuses the first key, by place, that nobody asked for.
    pub(super) fn end(self) -> Result<(), Fault> {
        let stray = self.entries.iter().filter(|e| e.value.is_some());
        match stray.min_by_key(|e| e.name_span.start) {
            None => Ok(()),
            Some(stray) => {
                let message = format!("unknown key; known here: {}", self.asked.join(", "));
                Err(self.fault(&stray.name, message))
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<Item<DeValue<'i>>> {
        if !self.asked.iter().any(|a| a == name) {
            self.asked.push(name.to_owned());
        }
        let key = self.full(name);
        let entry = self.entries.iter_mut().find(|e| e.name == name)?;
        Some(Item {
            value: entry.value.take()?,
            key,
            at: entry.value_at,
        })
    }

    fn place(&self, name: &str) -> usize {
        let entry = self.entries.iter().find(|e| e.name == name);
        entry.map_or(self.at, |e| e.name_span.start)
    }

    fn full(&self, name: &str) -> String {
        let name = name.escape_debug();
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

fn text(item: Item<DeValue<'_>>) -> Result<Item<String>, Fault> {
    match item {
        Item {
            value: DeValue::String(s),
            key,
            at,
        } => Ok(Item {
            value: s.into_owned(),
            key,
            at,
        }),
        other => Err(wrong_kind(&other, "a string in quotes")),
    }
}

fn wrong_kind(item: &Item<DeValue<'_>>, wanted: &str) -> Fault {
    let found = match &item.value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    item.fault(format!("must be {wanted}, is {found}"))
}
