//! Accounts with more than one outbound proxy: a flow by each (RFC 5626 §4.2), so that one that is lost leaves the others.
//!
//! The first proxy's flow is the account itself. When its registrar says that it knows flows (`Require: outbound` in the 200), each further
//! proxy gets one, an `Account` of its own in the same table with the next `reg-id`. Where it does not, there is one registration, by
//! the next proxy when one fails.
//!
//! Invariant: `Account::flows` of the first names each further one, whose `Account::first` names it; a further one is gone as soon as it
//! has ended, the first one when the last of them has. The program sees one registration: registered as long as one flow is.

use std::sync::Arc;

use ringback_time::{Now, Wall};

use crate::account::Account;
use crate::api::{AccountConfig, Error, Registration, RegistrationState};
use crate::engine::Engine;
use crate::limits;

/// Numbers of further flows, which no program gives.
const FURTHER: u64 = 1 << 63;

impl Engine {
    /// The accounts of the further proxies, checked with the first.
    pub(crate) fn further_flows(
        &mut self,
        config: &AccountConfig,
        registration: &Arc<Registration>,
    ) -> Result<Vec<Account>, Error> {
        if config.further_proxies.len() >= limits::FLOWS_MOST {
            return Err(Error::BadValue(format!("at most {} proxies", limits::FLOWS_MOST)));
        }
        let mut all = Vec::new();
        for (place, proxy) in config.further_proxies.iter().enumerate() {
            let config = AccountConfig { proxy: Some(proxy.clone()), ..config.clone() };
            let call_id = self.ua.new_call_id();
            let mut account = Account::new(config, Arc::clone(registration), call_id, &self.config.transports)?;
            account.reg_id = place as u32 + 2;
            all.push(account);
        }
        Ok(all)
    }

    /// The registrar of an account has accepted its flow: the others follow.
    pub(crate) fn open_further_flows(&mut self, now: Now, id: u64) {
        let Some(account) = self.accounts.get_mut(id) else { return };
        if !account.outbound_accepted || !account.wanted {
            return;
        }
        for mut further in std::mem::take(&mut account.spare) {
            let number = self.accounts.next_flow();
            let number = FURTHER | number;
            further.first = Some(id);
            if let Some(account) = self.accounts.get_mut(id) {
                account.flows.push(number);
            }
            self.accounts.insert(number, further);
            self.send_register(now, number);
        }
    }

    /// What the flows of an account come to.
    pub(crate) fn state_of_all(&self, first: u64) -> (RegistrationState, Option<Wall>) {
        let Some(account) = self.accounts.get(first) else { return (RegistrationState::Unregistered, None) };
        let further = account.flows.iter().filter_map(|id| self.accounts.get(*id));
        let all = || std::iter::once(account).chain(further.clone());
        let until =
            all().filter(|flow| flow.state == RegistrationState::Registered).filter_map(|flow| flow.until).max();
        for state in [RegistrationState::Registered, RegistrationState::Registering, RegistrationState::Failed] {
            if all().any(|flow| flow.state == state) {
                return (state, until);
            }
        }
        (RegistrationState::Unregistered, None)
    }

    /// The flow that serves an account: the first that is registered.
    pub(crate) fn best_flow(&self, id: u64) -> Option<&Account> {
        let account = self.accounts.get(id)?;
        let registered = |flow: &&Account| flow.state == RegistrationState::Registered;
        let further = account.flows.iter().filter_map(|id| self.accounts.get(*id));
        std::iter::once(account).chain(further).find(registered).or(Some(account))
    }
}
