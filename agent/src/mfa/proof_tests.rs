use super::*;

const ALICE: u32 = 1001;
const BOB: u32 = 1002;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn shell(uid: u32) -> LoginSession {
    LoginSession {
        uid,
        boot: BootId(7),
        audit_session: 3,
        tty_nr: 34816,
        leader: 4242,
        leader_start: 987_654,
    }
}

fn want<'a>(
    need: Factor,
    txn: u128,
    service: &'a str,
    login: Option<&'a LoginSession>,
) -> Want<'a> {
    Want {
        need,
        txn: Txn(txn),
        uid: ALICE,
        service,
        login,
    }
}

fn passed(at: u64) -> Proofs {
    let proofs = Proofs::new();
    proofs.passed_in_transaction(Txn(1), ALICE, "sudo", Some(shell(ALICE)), secs(at));
    proofs
}

#[test]
fn a_transaction_proof_is_good_for_one_account_and_its_session() {
    let proofs = passed(10);
    let want = want(Factor::Always, 1, "sudo", None);
    assert_eq!(
        proofs.would_cover(&want, secs(11)),
        Some(Cover::Transaction)
    );
    assert_eq!(
        proofs.cover_account(&want, secs(11)),
        Some(Cover::Transaction)
    );
    assert_eq!(proofs.would_cover(&want, secs(11)), None);
    assert_eq!(
        proofs.cover_account(&want, secs(11)),
        None,
        "a second account"
    );
    assert_eq!(
        proofs.cover_session(&want, secs(12)),
        Some(Cover::Transaction)
    );
    assert_eq!(
        proofs.cover_session(&want, secs(12)),
        None,
        "a second session"
    );
    assert_eq!(proofs.cover_account(&want, secs(12)), None);
}

#[test]
fn a_session_that_skipped_account_uses_the_proof_up_too() {
    let proofs = passed(10);
    let want = want(Factor::Always, 1, "sudo", None);
    assert_eq!(
        proofs.cover_session(&want, secs(11)),
        Some(Cover::Transaction)
    );
    assert_eq!(proofs.cover_account(&want, secs(11)), None);
    assert_eq!(proofs.cover_session(&want, secs(11)), None);
}

#[test]
fn asking_whether_it_would_do_uses_nothing_up() {
    let proofs = passed(10);
    let want = want(Factor::Always, 1, "sudo", None);
    for _ in 0..5 {
        assert_eq!(
            proofs.would_cover(&want, secs(11)),
            Some(Cover::Transaction)
        );
    }
    assert_eq!(
        proofs.cover_account(&want, secs(11)),
        Some(Cover::Transaction)
    );
}

#[test]
fn a_transaction_proof_serves_no_other_transaction_person_or_service() {
    let proofs = passed(10);
    let of_bob = Want {
        uid: BOB,
        ..want(Factor::Always, 1, "sudo", None)
    };
    for other in [
        want(Factor::Always, 2, "sudo", None),
        want(Factor::Always, 1, "su", None),
        want(Factor::Always, 1, "sshd", None),
        of_bob,
    ] {
        assert_eq!(proofs.would_cover(&other, secs(10)), None, "{other:?}");
        assert_eq!(proofs.cover_account(&other, secs(10)), None, "{other:?}");
        assert_eq!(proofs.cover_session(&other, secs(10)), None, "{other:?}");
    }
    // `sudo -i` is sudo.
    let base = want(Factor::Always, 1, "sudo-i", None);
    assert_eq!(
        proofs.cover_account(&base, secs(10)),
        Some(Cover::Transaction)
    );
}

#[test]
fn a_transaction_proof_lives_two_minutes() {
    let want = want(Factor::Always, 1, "sudo", None);
    assert_eq!(
        passed(10).cover_account(&want, secs(130)),
        Some(Cover::Transaction)
    );
    let late = secs(130) + Duration::from_millis(1);
    assert_eq!(passed(10).cover_account(&want, late), None);
    let proofs = passed(10);
    assert!(proofs.cover_account(&want, secs(100)).is_some());
    assert_eq!(
        proofs.cover_session(&want, late),
        None,
        "and its session part no longer"
    );
}

#[test]
fn always_takes_no_proof_but_this_transactions() {
    let proofs = passed(10);
    let login = shell(ALICE);
    assert!(proofs.verified(login, secs(10)));
    let want = want(Factor::Always, 2, "sudo", Some(&login));
    assert_eq!(proofs.would_cover(&want, secs(10)), None);
    assert_eq!(proofs.cover_account(&want, secs(10)), None);
    assert_eq!(proofs.cover_session(&want, secs(10)), None);
}

#[test]
fn a_session_proof_is_good_until_its_age() {
    let proofs = passed(10);
    let login = shell(ALICE);
    let want = want(Factor::Age(900), 2, "su", Some(&login));
    for _ in 0..3 {
        assert_eq!(
            proofs.cover_account(&want, secs(70)),
            Some(Cover::Session(60))
        );
        assert_eq!(
            proofs.cover_session(&want, secs(70)),
            Some(Cover::Session(60))
        );
    }
    assert_eq!(
        proofs.cover_account(&want, secs(910)),
        Some(Cover::Session(900))
    );
    let late = secs(910) + Duration::from_millis(1);
    assert_eq!(proofs.would_cover(&want, late), None);
    assert_eq!(proofs.cover_account(&want, late), None);
    assert_eq!(proofs.cover_session(&want, late), None);
    assert_eq!(proofs.proved_ago(&login, late), Some(900));
    assert!(proofs.verified(login, late));
    assert_eq!(proofs.cover_account(&want, late), Some(Cover::Session(0)));
}

#[test]
fn a_session_proof_is_good_only_where_every_part_is_equal() {
    let proofs = passed(10);
    let mine = shell(ALICE);
    let others = [
        LoginSession {
            boot: BootId(8),
            ..mine
        },
        LoginSession {
            audit_session: 4,
            ..mine
        },
        LoginSession {
            tty_nr: 34817,
            ..mine
        },
        LoginSession {
            leader: 4243,
            ..mine
        },
        LoginSession {
            leader_start: 987_655,
            ..mine
        },
        LoginSession { tty_nr: 0, ..mine },
        LoginSession { leader: 0, ..mine },
        LoginSession {
            leader_start: 0,
            ..mine
        },
        shell(BOB),
    ];
    for other in &others {
        let want = want(Factor::Age(900), 2, "sudo", Some(other));
        assert_eq!(proofs.cover_account(&want, secs(11)), None, "{other:?}");
        assert_eq!(proofs.proved_ago(other, secs(11)), None, "{other:?}");
    }
    let none = want(Factor::Age(900), 2, "sudo", None);
    assert_eq!(proofs.cover_account(&none, secs(11)), None);
    // Another person's uid beside this session's is nobody's session.
    let confused = Want {
        uid: BOB,
        ..want(Factor::Age(900), 2, "sudo", Some(&mine))
    };
    assert_eq!(proofs.cover_account(&confused, secs(11)), None);
    assert_eq!(proofs.proved_ago(&mine, secs(11)), Some(1));
}

#[test]
fn what_has_no_terminal_or_leader_holds_no_proof() {
    let mine = shell(ALICE);
    for nowhere in [
        LoginSession { tty_nr: 0, ..mine },
        LoginSession { leader: 0, ..mine },
        LoginSession {
            leader_start: 0,
            ..mine
        },
    ] {
        let proofs = Proofs::new();
        assert!(!proofs.verified(nowhere, secs(1)));
        proofs.passed_in_transaction(Txn(1), ALICE, "sudo", Some(nowhere), secs(1));
        let want = want(Factor::Age(900), 2, "sudo", Some(&nowhere));
        assert_eq!(proofs.cover_account(&want, secs(1)), None);
    }
}

#[test]
fn a_proof_in_somebody_elses_session_is_not_remembered_for_it() {
    let proofs = Proofs::new();
    proofs.passed_in_transaction(Txn(1), ALICE, "su", Some(shell(BOB)), secs(1));
    assert_eq!(proofs.proved_ago(&shell(BOB), secs(1)), None);
}

#[test]
fn jit_verify_makes_no_transaction_proof() {
    let proofs = Proofs::new();
    assert!(proofs.verified(shell(ALICE), secs(1)));
    assert_eq!(
        proofs.cover_account(&want(Factor::Always, 0, "sudo", None), secs(1)),
        None
    );
    assert_eq!(
        proofs.cover_account(&want(Factor::Age(900), 0, "sudo", None), secs(1)),
        None
    );
}

/// One ssh login's proof is not another's: entry shows no login session at all.
#[test]
fn entry_takes_only_its_own_transactions_proof() {
    let proofs = Proofs::new();
    proofs.passed_in_transaction(Txn(1), ALICE, "sshd", None, secs(1));
    let other = want(Factor::Age(900), 2, "sshd", None);
    assert_eq!(proofs.cover_account(&other, secs(2)), None);
    let own = want(Factor::Age(900), 1, "sshd", None);
    assert_eq!(
        proofs.cover_account(&own, secs(2)),
        Some(Cover::Transaction)
    );
}

#[test]
fn where_nothing_is_needed_nothing_is_used_up() {
    let proofs = passed(10);
    let none = want(Factor::None, 1, "sudo", None);
    assert_eq!(proofs.would_cover(&none, secs(10)), Some(Cover::NotNeeded));
    assert_eq!(
        proofs.cover_account(&none, secs(10)),
        Some(Cover::NotNeeded)
    );
    assert_eq!(
        proofs.cover_session(&none, secs(10)),
        Some(Cover::NotNeeded)
    );
    let always = want(Factor::Always, 1, "sudo", None);
    assert_eq!(
        proofs.cover_account(&always, secs(10)),
        Some(Cover::Transaction)
    );
}

#[test]
fn a_reset_takes_the_proofs_along() {
    let proofs = passed(10);
    proofs.passed_in_transaction(Txn(5), BOB, "sudo", Some(shell(BOB)), secs(10));
    proofs.forget(ALICE);
    let login = shell(ALICE);
    let mine = want(Factor::Age(900), 1, "sudo", Some(&login));
    assert_eq!(proofs.cover_account(&mine, secs(11)), None);
    assert_eq!(proofs.proved_ago(&shell(BOB), secs(11)), Some(1));
}

#[test]
fn two_accounts_racing_for_one_proof_get_one_yes() {
    for _ in 0..50 {
        let proofs = passed(10);
        let yes = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let want = want(Factor::Always, 1, "sudo", None);
                        proofs.cover_account(&want, secs(11)).is_some()
                    })
                })
                .collect();
            let won = racers.into_iter().map(|racer| racer.join().unwrap());
            won.filter(|won| *won).count()
        });
        assert_eq!(yes, 1);
    }
}

#[test]
fn a_clock_read_a_moment_earlier_by_another_thread_loses_nothing() {
    let proofs = passed(10);
    let login = shell(ALICE);
    let want = want(Factor::Age(1), 2, "sudo", Some(&login));
    assert_eq!(
        proofs.cover_account(&want, secs(9)),
        Some(Cover::Session(0))
    );
}

#[test]
fn memory_is_bounded_and_one_person_pushes_out_only_themselves() {
    let proofs = Proofs::new();
    proofs.passed_in_transaction(Txn(0), BOB, "sudo", Some(shell(BOB)), secs(1));
    for nr in 1..1000_u32 {
        let login = LoginSession {
            leader: nr,
            ..shell(ALICE)
        };
        proofs.passed_in_transaction(Txn(nr.into()), ALICE, "sudo", Some(login), secs(2));
    }
    {
        let kept = proofs.lock();
        assert_eq!(kept.transactions.len(), MOST_OF_ONE + 1);
        assert_eq!(kept.sessions.len(), MOST_OF_ONE + 1);
    }
    assert_eq!(proofs.proved_ago(&shell(BOB), secs(2)), Some(1));
    let newest = LoginSession {
        leader: 999,
        ..shell(ALICE)
    };
    let oldest = LoginSession {
        leader: 1,
        ..shell(ALICE)
    };
    assert_eq!(proofs.proved_ago(&newest, secs(2)), Some(0));
    assert_eq!(proofs.proved_ago(&oldest, secs(2)), None);

    for uid in 2000..8000_u32 {
        proofs.passed_in_transaction(Txn(uid.into()), uid, "sudo", Some(shell(uid)), secs(3));
    }
    let kept = proofs.lock();
    assert_eq!((kept.transactions.len(), kept.sessions.len()), (MOST, MOST));
}

#[test]
fn what_nobody_needs_any_more_is_dropped() {
    let proofs = passed(10);
    let late = secs(10) + SESSION_LIFE + secs(1);
    assert_eq!(proofs.proved_ago(&shell(ALICE), late), None);
    let kept = proofs.lock();
    assert!(kept.transactions.is_empty() && kept.sessions.is_empty());
}
