//! Which domains answer, what is wrong with the others, and making them again.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use meter::stderr::print_status;

use super::{Xen, settings::At, xl};
use crate::Platform;
use domain::{Event, Process, shell::quote};

/// The lock of a Xen host, in its control domain.
pub(super) const LOCK: &str = "/run/iomatrix.lock";
/// Longest that the control domain may be away before nothing is waited for any more.
const AWAY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// Longest that a guest may take from its creation to its first answer.
const BOOT: Duration = Duration::from_secs(120);

/// Takes the lock of a Xen host, leaves there who has it, and says so; lets it go when its input ends. An
/// owner that has just died may need a moment to let it go.
fn turn_script() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let who = format!("process {} on {}", std::process::id(), name.trim());
    format!(
        "exec 9>>{LOCK}; flock -w 5 9 || {{ cat {LOCK} >&2; exit 1; }}; echo {} >{LOCK}; \
         echo '{{\"record\":\"ready\"}}'; cat >/dev/null",
        quote(&who)
    )
}

impl Xen {
    /// Keeps other coordinators off this Xen host, until this one or the connection ends.
    pub(super) fn take_turn(&mut self) -> Result<()> {
        let held = |turn: &mut Box<dyn Process>| matches!(turn.next(Instant::now()), Event::Silent);
        if self.turn.as_mut().is_some_and(held) {
            return Ok(());
        }
        let mut turn = self.places[&self.control].hold(&turn_script())?;
        match turn.next(Instant::now() + xl::QUESTION) {
            Event::Record(_) => {
                self.turn = Some(turn);
                Ok(())
            }
            Event::Ended(exit) => bail!(
                "another matrix runs on this Xen host: {}; wait for its end, or end it",
                exit.stderr.trim()
            ),
            Event::Silent => bail!("the control domain does not lock {LOCK} in time"),
        }
    }

    /// Connects to every domain. A guest that is not there, or that stands still, is made; one that only
    /// refuses this user is left alone.
    pub(super) fn find_everyone(&mut self) -> Result<()> {
        let names: Vec<String> = self.places.keys().cloned().collect();
        for name in &names {
            let Err(error) = self.places[name].ensure_alive() else { continue };
            let Some(halted) = self.halted(name)? else { return Err(error.context(unreachable(name))) };
            print_status(format_args!("domain `{name}`: {halted}; it is made again"));
            self.revive(name).with_context(|| unreachable(name))?;
        }
        Ok(())
    }

    /// Why a guest can't answer whatever its SSH is like, in words; `None` while it runs.
    pub(super) fn guest_halted(&self, guest: &str) -> Result<Option<String>> {
        let states = self.xl().states()?;
        let Some(state) = states.get(guest) else { return Ok(Some(format!("guest {guest} is gone"))) };
        let words = [('p', "paused"), ('c', "crashed"), ('d', "dying"), ('s', "shut down")];
        let word = words.into_iter().find(|(letter, _)| state.contains(*letter));
        Ok(word.map(|(_, word)| format!("guest {guest} is {word}")))
    }

    /// The last processes that the control domain's kernel ended for want of memory, in its own words.
    pub(super) fn last_out_of_memory(&self) -> Result<Vec<String>> {
        let script = "dmesg | grep -i 'out of memory: killed' | tail -n 5";
        Ok(self.control().ask(script, xl::QUESTION)?.lines().map(str::to_owned).collect())
    }

    /// What is wrong now, as the toolstack and the control domain's kernel see it.
    pub(super) fn look_for_troubles(&mut self) -> Result<Vec<String>> {
        self.places[&self.control].ensure_alive()?;
        let mut found = Vec::new();
        for guest in self.at.values().filter_map(|at| at.guest.as_deref()) {
            found.extend(self.guest_halted(guest)?);
        }
        let out_of_memory = self.last_out_of_memory()?;
        // Each line begins with its time: no two are the same.
        let new = out_of_memory.iter().filter(|line| !self.out_of_memory.contains(line));
        found.extend(new.map(|line| format!("the control domain's kernel: {line}")));
        self.out_of_memory = out_of_memory;
        Ok(found)
    }

    /// Makes sure that every domain answers, the control domain first; a guest that does not is made again,
    /// or given up. The toolstack is asked before the guests: a paused one would only be waited for.
    pub(super) fn heal(&mut self) -> Result<()> {
        if let Err(error) = self.wait_for_control(AWAY) {
            self.gone = Some(format!("{error:#}"));
            return Err(error);
        }
        self.take_turn()?;
        let names: Vec<String> = self.places.keys().filter(|name| **name != self.control).cloned().collect();
        for name in names.iter().filter(|name| !self.lost.contains_key(*name)).collect::<Vec<_>>() {
            let trouble = match self.halted(name)? {
                Some(halted) => halted,
                None => match self.places[name].ensure_alive() {
                    Ok(()) => continue,
                    Err(error) => format!("{error:#}"),
                },
            };
            print_status(format_args!("domain `{name}` does not answer: {trouble}"));
            if let Err(error) = self.revive(name) {
                print_status(format_args!("domain `{name}` is taken out: {error:#}"));
                self.lost.insert(name.clone(), format!("{error:#}"));
            }
        }
        Ok(())
    }

    /// Waits until the control domain answers, over a new connection if need be.
    pub(super) fn wait_for_control(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while let Err(error) = self.places[&self.control].ensure_alive() {
            if Instant::now() > deadline {
                return Err(error.context(format!("the control domain `{}` does not answer", self.control)));
            }
            thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Destroys a guest and creates it again, without the measured devices.
    pub(super) fn revive(&mut self, domain: &str) -> Result<()> {
        let (guest, config) = match &self.at[domain] {
            At { guest: Some(guest), config: Some(config), .. } => (guest.clone(), config.clone()),
            _ => bail!("it does not answer, and the plan names no `guest` and `config` to make it again"),
        };
        self.places[domain].disconnect();
        self.xl().destroy(&guest)?;
        self.take_back_from(domain)?;
        self.xl().create(&config)?;
        let deadline = Instant::now() + BOOT;
        while let Err(error) = self.places[domain].ensure_alive() {
            if Instant::now() > deadline {
                return Err(error.context("it was made again, and does not answer"));
            }
            thread::sleep(Duration::from_millis(500));
        }
        self.pin(domain)
    }
}

/// Which domain could not be reached at the start.
pub(super) fn unreachable(domain: &str) -> String {
    format!("domain `{domain}` can't be used; `cargo xtask doctor` says more")
}
