//! What the command line says.

use std::error::Error;
use std::path::PathBuf;

/// One way to be let in, or not to be.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    /// What to print.
    pub(crate) name: String,
    /// A folder of PAM files.
    pub(crate) folder: PathBuf,
    /// Who takes turns.
    pub(crate) people: People,
    /// The account check has to say no, every time; otherwise it has to say yes.
    pub(crate) refused: bool,
}

/// People with numbers behind their names, the first of whom is 1, and uids in the same order.
#[derive(Debug, Clone)]
pub(crate) struct People {
    prefix: String,
    first_uid: u32,
    count: u32,
}

impl People {
    /// The name and uid of whose turn it is.
    pub(crate) fn at(&self, turn: usize) -> (String, u32) {
        let turn = u32::try_from(turn).unwrap_or_default() % self.count.max(1);
        (
            format!("{}{}", self.prefix, turn + 1),
            self.first_uid + turn,
        )
    }
}

/// The whole of it.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) concurrent: usize,
    pub(crate) service: String,
    pub(crate) stacks: Vec<Stack>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            rounds: 300,
            concurrent: 0,
            service: "sudo".to_owned(),
            stacks: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => options.rounds = value()?.parse()?,
                "--concurrent" => options.concurrent = value()?.parse()?,
                "--service" => options.service.clone_from(value()?),
                stack => options.stacks.push(stack_of(stack)?),
            }
        }
        if options.stacks.is_empty() {
            return Err(
                "no stacks: give at least one NAME=FOLDER,USERS,UID,COUNT[,refused]".into(),
            );
        }
        Ok(options)
    }
}

fn stack_of(word: &str) -> Result<Stack, Box<dyn Error>> {
    let unclear = || format!("{word}: neither an option nor NAME=FOLDER,USERS,UID,COUNT[,refused]");
    let (name, rest) = word.rsplit_once('=').ok_or_else(unclear)?;
    let (folder, users, uid, count, refused) = match *rest.split(',').collect::<Vec<_>>() {
        [folder, users, uid, count] => (folder, users, uid, count, false),
        [folder, users, uid, count, "refused"] => (folder, users, uid, count, true),
        _ => return Err(unclear().into()),
    };
    Ok(Stack {
        name: name.to_owned(),
        folder: PathBuf::from(folder),
        people: People {
            prefix: users.to_owned(),
            first_uid: uid.parse()?,
            count: count.parse()?,
        },
        refused,
    })
}
