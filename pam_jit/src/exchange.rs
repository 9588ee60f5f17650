//! One conversation with the agent: ask, show what it says, answer what it asks, take its verdict.

use std::path::Path;
use std::time::Duration;

use jit_protocol::client::{Client, ClientError, Deadline};
use jit_protocol::message::{Answer, PamAsk, PamReply, Prompt, Request, Said, Verdict};
use zeroize::Zeroizing;

use crate::host::{Host, Tone};
use crate::names;
use crate::verdict::Failure;

/// How long a prompt lives. What is typed later is not sent.
const PROMPT_LIFE: Duration = Duration::from_secs(120);

/// The longest answer, in bytes, that can be a code. Longer ones count as none.
const LONGEST_ANSWER: usize = 512;

/// The most info lines of one conversation. Each may wait for the person, off the clock.
const MOST_INFO: u32 = 8;

/// What the agent may do with the person meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// Show info lines.
    pub(crate) tell: bool,
    /// Pass prompts on.
    pub(crate) prompt: bool,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Agent(error.to_string())
    }
}

/// Connects to the agent, who begins to look up whose process this is while the question is still
/// being put together. From now on the exchange may take so long.
pub(crate) fn call(socket: &Path, limit: Duration) -> Result<Client, Failure> {
    Ok(Client::connect(socket, Deadline::after(limit))?)
}

/// Asks the agent. The connection is closed when this returns.
pub(crate) fn consult(
    host: &impl Host,
    mut client: Client,
    ask: PamAsk,
    manners: Manners,
) -> Result<Verdict, Failure> {
    client.send(&Request::Pam(ask))?;
    let mut prompted = false;
    let mut told = 0;
    loop {
        match client.recv_as()? {
            PamReply::Verdict(verdict) => return Ok(verdict),
            PamReply::Info(text) if told < MOST_INFO => {
                told += 1;
                if manners.tell {
                    client.off_the_clock(|| host.tell(Tone::Info, &names::one_line(&text)));
                }
            }
            PamReply::Prompt(prompt) if !prompted => {
                prompted = true;
                let text = if manners.prompt {
                    answer(host, &mut client, &prompt)
                } else {
                    None
                };
                let said = Said::Answer(Answer {
                    id: prompt.id,
                    text,
                });
                match client.send(&said) {
                    // An agent that gave up waiting has left its verdict behind.
                    Ok(()) | Err(ClientError::Closed) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            PamReply::Info(_) => return Err(nonsense("too many info lines")),
            PamReply::Prompt(_) => return Err(nonsense("a second prompt")),
            PamReply::Refused(refusal) => {
                return Err(Failure::Agent(format!(
                    "the agent would not say: {} ({})",
                    refusal.message, refusal.reason
                )));
            }
        }
    }
}

/// What the person types, if it can be an answer at all.
fn answer(host: &impl Host, client: &mut Client, prompt: &Prompt) -> Option<Zeroizing<String>> {
    let shown = names::one_line(&prompt.text);
    let (typed, spent) = client.off_the_clock(|| host.prompt(&shown, prompt.echo));
    usable(&typed?, spent)
}

fn usable(typed: &[u8], spent: Duration) -> Option<Zeroizing<String>> {
    if spent > PROMPT_LIFE || typed.len() > LONGEST_ANSWER {
        return None;
    }
    str::from_utf8(typed)
        .ok()
        .map(|text| Zeroizing::new(text.to_owned()))
}

fn nonsense(what: &str) -> Failure {
    Failure::Agent(format!("the agent sent nonsense: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_too_late_or_too_long_or_is_not_text_is_not_sent() {
        let quick = Duration::from_secs(5);
        let sent = |typed: &[u8], spent| usable(typed, spent).map(|text| text.to_string());
        assert_eq!(sent(b"123456", quick), Some("123456".to_owned()));
        assert_eq!(sent(b"", quick), Some(String::new()));
        assert!(sent(b"123456", Duration::from_secs(120)).is_some());
        assert!(sent(b"123456", Duration::from_millis(120_001)).is_none());
        assert!(sent(&[b'1'; 512], quick).is_some());
        assert!(sent(&[b'1'; 513], quick).is_none());
        assert!(sent(b"12345\xff", quick).is_none());
    }
}
