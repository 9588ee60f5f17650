//! Man pages and shell completions, made from the one definition of the command line.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};

use crate::Cli;
use crate::failure::{Exit, Failure};

/// Writes the man pages.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder to write jit.1, jit-status.1 and their kin into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints a completion script.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// For which shell
    shell: clap_complete::Shell,
}

impl Man {
    /// Writes every page.
    ///
    /// # Errors
    ///
    /// When a page cannot be written.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        std::fs::create_dir_all(&self.out).map_err(|e| Failure::file(&self.out, e))?;
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        pages(&command, &self.out).map(|()| Exit::Yes)
    }
}

fn pages(command: &Command, out: &Path) -> Result<(), Failure> {
    for verb in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        pages(verb, out)?;
    }
    let man = clap_mangen::Man::new(command.clone());
    let path = out.join(man.get_filename());
    page(&man, command)
        .and_then(|page| std::fs::write(&path, page))
        .map_err(|e| Failure::file(&path, e))
}

/// One page. Title and notes are written here: clap_mangen leaves out an empty date, so that
/// everything after it is taken for something else, and it would fill the lines of an example or of
/// a schema into a paragraph.
fn page(man: &clap_mangen::Man, command: &Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let name = man.get_filename().to_uppercase();
    let name = name.trim_end_matches(".1");
    let version = env!("CARGO_PKG_VERSION");
    writeln!(page, r#".TH {name} 1 "" "pam_jit {version}" pam_jit"#)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(notes) = command.get_after_long_help() {
        page.extend_from_slice(roff(&notes.to_string()).as_bytes());
    }
    Ok(page)
}

/// Text as roff (man(7)): indented lines stay as they are, others are filled.
fn roff(text: &str) -> String {
    let mut page = String::from(".SH NOTES\n");
    let mut as_is = false;
    for line in text.lines() {
        if line.starts_with("  ") != as_is {
            as_is = !as_is;
            page.push_str(if as_is { ".nf\n" } else { ".fi\n" });
        }
        match line {
            "" => page.push_str(".PP\n"),
            // The leading \& keeps a dot or a quote at the line's start from being a command.
            _ => page.extend(["\\&", &line.replace('\\', "\\e").replace('-', "\\-"), "\n"]),
        }
    }
    if as_is {
        page.push_str(".fi\n");
    }
    page
}

impl Completions {
    /// Prints the script.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "jit", &mut script);
        crate::screen::print(&String::from_utf8_lossy(&script)).map(|()| Exit::Yes)
    }
}
