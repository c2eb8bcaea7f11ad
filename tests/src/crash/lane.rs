//! One chain, two LSPs and two phones, through one story after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::{Before, check};
use super::points::{Role, reached};
use super::stories::{NOTIFY_SECRET, Story, tell};
use super::world::World;
use crate::doom::{Doom, Fate};
use crate::failure::Failure;
use crate::stage::{Setup, Stage};

/// An LSP sends 30 pushes for messages to one phone in an hour, and a story takes one to three.
const STORIES_MAX: u32 = 9;

/// After so many payments in parts the payer has too little left for one more.
const MPP_STORIES_MAX: u32 = 3;

/// So small that one cannot carry the amount, and so many that two can, several times. An LSP lets a peer have no more than
/// four that are not confirmed.
const MPP_CHANNELS: usize = 4;
const MPP_CHANNEL_SAT: u64 = 300_000;

/// Longer than any story.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// What everybody dies of in one story.
#[derive(Clone, Debug, Default)]
pub(super) struct Dooms([Vec<Doom>; 4]);

impl Dooms {
    pub(super) fn of(&self, role: Role) -> &[Doom] {
        &self.0[role.index()]
    }

    pub(super) fn set(&mut self, role: Role, dooms: Vec<Doom>) {
        self.0[role.index()] = dooms;
    }
}

impl std::fmt::Display for Dooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut words = Vec::new();
        for role in Role::ALL.into_iter().filter(|role| !self.of(*role).is_empty()) {
            let dooms: Vec<_> = self.of(role).iter().map(ToString::to_string).collect();
            words.push(format!("{role} at {}", dooms.join(" and then ")));
        }
        f.write_str(&if words.is_empty() { "nobody".to_owned() } else { words.join(", ") })
    }
}

/// What happened to everybody in one story.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// How many of its dooms befell each role.
    pub(super) deaths: [usize; 4],
    /// How often each role reached each point.
    pub(super) reached: [BTreeMap<String, u32>; 4],
}

pub(super) struct Lane {
    pub(super) stage: Stage,
    pub(super) setup: Setup,
    fates: [Fate; 2],
    told: u32,
    mpp: bool,
}

/// Other services may ask for notifications.
fn notified(setup: Setup) -> Setup {
    setup.setting("notify.enabled", "true").setting("notify.secret", NOTIFY_SECRET)
}

impl Lane {
    /// Sets up a lane whose payments go in one part, or in several.
    pub(super) async fn new(mpp: bool) -> Result<Self, Failure> {
        // Pushes go through Apple and Google, or to webhooks.
        let mut setup = match mpp {
            false => notified(Setup::lsps(2).with_providers()),
            true => Setup::lsps(2),
        };
        if mpp {
            setup.payer_channels_sat = vec![MPP_CHANNEL_SAT; MPP_CHANNELS];
        }
        let mut stage = Stage::new_with_progress(setup.clone(), &mut |_| ()).await?;
        for lsp in &mut stage.lsps {
            lsp.restart_traced().await?;
        }
        for phone in [&stage.payer, &stage.payee] {
            phone.wallet().fate().trace();
        }
        let fates = [Fate::default(), Fate::default()];
        fates.iter().for_each(Fate::trace);
        Ok(Self { stage, setup, fates, told: 0, mpp })
    }

    /// Whether the next story needs a fresh one.
    pub(super) fn is_used_up(&self, story: Story) -> bool {
        let max = if self.mpp { MPP_STORIES_MAX } else { STORIES_MAX };
        self.told >= max || self.mpp != (story == Story::Mpp)
    }

    /// Tells a story in which everybody dies as they must, and checks what has to be true afterwards.
    pub(super) async fn survive(
        &mut self,
        story: Story,
        dooms: &Dooms,
        patience: Duration,
    ) -> Result<Outcome, Failure> {
        self.told += 1;
        let before = Before::look(&self.stage).await?;
        let marks: Vec<usize> = Role::ALL.iter().map(|role| self.log(*role).len()).collect();
        let Stage { lsps, payer, payee, bitcoind, providers, .. } = &mut self.stage;
        let (payer, payee, bitcoind, providers) = (&*payer, &*payee, &*bitcoind, providers.as_ref());
        payer.wallet().fate().set(dooms.of(Role::Payer).iter().cloned());
        payee.wallet().fate().set(dooms.of(Role::Payee).iter().cloned());
        let [fate_a, fate_b] = &self.fates;
        let (of_a, mut of_b) = (dooms.of(Role::LspA).to_vec(), dooms.of(Role::LspB).to_vec());
        if story == Story::Late && of_b.is_empty() {
            // Somebody has to look after it: it is off for a while.
            of_b.push(Doom::After(NEVER));
        }
        let [lsp_a, lsp_b] = lsps.as_mut_slice() else {
            return Err(Failure::wrong("a lane needs two LSPs"));
        };
        let told = lsp_a
            .with_dooms(fate_a, of_a, async |payers_lsp| {
                lsp_b
                    .with_dooms(fate_b, of_b, async |payees_lsp| {
                        let payees_fate = fate_b;
                        let world = World {
                            bitcoind,
                            payers_lsp,
                            payees_lsp,
                            payees_fate,
                            payer,
                            payee,
                            providers,
                            patience,
                        };
                        tell(story, &world).await
                    })
                    .await
            })
            .await;
        let wallets = [payer, payee].map(|phone| {
            let fate = phone.wallet().fate();
            let deaths = fate.deaths();
            fate.set([]);
            deaths
        });
        let ((told, of_b), of_a) = told?;
        let mut outcome = Outcome { deaths: [of_a, of_b, wallets[0], wallets[1]], ..Outcome::default() };
        // Before the checks, which ask everybody and reach more.
        for role in Role::ALL {
            let log = self.log(role);
            outcome.reached[role.index()] = reached(log.get(marks[role.index()]..).unwrap_or_default());
        }
        check(&self.stage, &self.setup, &before, story, &told).await?;
        Ok(outcome)
    }

    fn log(&self, role: Role) -> String {
        let of_wallet = |phone: &crate::phone::Phone| {
            let bytes = std::fs::read(phone.wallet().log_path()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        match role {
            Role::LspA => self.stage.payers_lsp().log(),
            Role::LspB => self.stage.payees_lsp().log(),
            Role::Payer => of_wallet(&self.stage.payer),
            Role::Payee => of_wallet(&self.stage.payee),
        }
    }

    pub(super) async fn finish(self) -> Result<(), Failure> {
        self.stage.finish().await
    }
}
