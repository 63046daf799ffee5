use std::hash::BuildHasher as _;

use hashbrown::HashTable;

/// Passwords by user name. Whether there is such a user does not show in how long a look-up takes: where there is none, the password of somebody
/// else is found instead, always the same for a name, and what has to be hashed with it is as long as it would be otherwise.
#[derive(Clone, Default)]
pub struct PasswordTable {
    users: Vec<(String, String)>,
    index: HashTable<u32>,
    hasher: foldhash::quality::RandomState,
}

/// What is to be checked against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Found<'t> {
    pub password: &'t str,
    /// It is the user's own.
    pub known: bool,
}

impl PasswordTable {
    pub fn len(&self) -> usize {
        self.users.len()
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// `None` where there are no users at all.
    pub fn find(&self, username: &str) -> Option<Found<'_>> {
        let hash = self.hasher.hash_one(username);
        let own = self.place(hash, username);
        // Multiplication takes the high bits, of which the index makes little use.
        let other = ((u128::from(hash) * self.users.len() as u128) >> 64) as usize;
        // The name is compared in both cases: it has to be fetched, which takes longer than all the rest.
        let (name, password) = self.users.get(own.unwrap_or(other))?;
        Some(Found { password, known: name == username })
    }

    fn place(&self, hash: u64, username: &str) -> Option<usize> {
        let named = |place: &u32| self.users.get(*place as usize).is_some_and(|(name, _)| name == username);
        self.index.find(hash, named).map(|place| *place as usize)
    }
}

impl FromIterator<(String, String)> for PasswordTable {
    /// Of two passwords of one user the last counts.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(users: I) -> PasswordTable {
        let mut table = PasswordTable::default();
        for (name, password) in users {
            let hash = table.hasher.hash_one(&name);
            if let Some(place) = table.place(hash, &name) {
                if let Some((_, old)) = table.users.get_mut(place) {
                    *old = password;
                }
                continue;
            }
            let PasswordTable { users, index, hasher } = &mut table;
            // Users are in memory: there are fewer.
            let place = users.len() as u32;
            users.push((name, password));
            index.insert_unique(hash, place, |place| {
                users.get(*place as usize).map_or(0, |(name, _)| hasher.hash_one(name))
            });
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(count: usize) -> PasswordTable {
        (0..count).map(|n| (format!("user{n}"), format!("password{n}"))).collect()
    }

    #[test]
    fn each_user_has_its_own_password() {
        let table = table(1000);
        assert_eq!(table.len(), 1000);
        for n in 0..1000 {
            let found = table.find(&format!("user{n}")).unwrap();
            assert!(found.known && found.password == format!("password{n}"));
        }
        let twice: PasswordTable =
            [("a", "1"), ("b", "2"), ("a", "3")].map(|(a, b)| (a.into(), b.into())).into_iter().collect();
        assert_eq!(twice.len(), 2);
        assert!(twice.find("a").unwrap().password == "3" && twice.find("b").unwrap().password == "2");
    }

    #[test]
    fn who_is_nobody_gets_somebody_s_and_always_the_same() {
        let table = table(1000);
        let mut seen = std::collections::HashSet::new();
        for n in 0..1000 {
            let name = format!("nobody{n}");
            let found = table.find(&name).unwrap();
            assert!(!found.known && found == table.find(&name).unwrap());
            seen.insert(found.password);
        }
        // 632 of them are to be expected: 1 - 1/e.
        assert!((500..750).contains(&seen.len()), "{}", seen.len());
        assert!(PasswordTable::default().find("").is_none());
    }
}
