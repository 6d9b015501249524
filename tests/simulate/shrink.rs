//! Makes a history that breaks a promise shorter, as long as it breaks the same one.

use crate::judge::Violation;
use crate::play::play;
use crate::world::{Event, World};

/// Worlds that are tried at most.
const TRIES: u32 = 150;

/// The shortest history found, and what it breaks.
pub(crate) fn shortest(world: &World, violation: &Violation) -> (World, Violation) {
    let mut search = Search { world: world.clone(), violation: violation.clone(), tries: TRIES };
    loop {
        let before = (search.world.events.len(), search.world.sources.len());
        search.cut();
        search.drop_sources();
        let mut size = search.world.events.len().div_ceil(2);
        while size > 0 {
            search.drop_events(size);
            size /= 2;
        }
        let after = (search.world.events.len(), search.world.sources.len());
        if after == before || search.tries == 0 {
            search.cut();
            return (search.world, search.violation);
        }
    }
}

struct Search {
    world: World,
    violation: Violation,
    tries: u32,
}

impl Search {
    /// Takes a world in place of ours if it breaks the same promise.
    fn consider(&mut self, world: World) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        match play(&world).violation {
            Some(violation) if violation.rule == self.violation.rule => {
                (self.world, self.violation) = (world, violation);
                true
            }
            _ => false,
        }
    }

    /// Ends where the promise is broken.
    fn cut(&mut self) {
        let mut shorter = self.world.clone();
        shorter.length = shorter.length.min(self.violation.at / 1000 + 1);
        let end = shorter.length;
        shorter.events.retain(|event| event.at() < end);
        self.consider(shorter);
    }

    fn drop_sources(&mut self) {
        for n in (0..self.world.sources.len()).rev() {
            if self.world.sources.len() > 1 {
                let mut fewer = self.world.clone();
                if fewer.sources.iter().any(|it| it.stands_in.is_some()) {
                    // One of the two would be without the other.
                    continue;
                }
                fewer.sources.remove(n);
                fewer.events.retain_mut(|event| without(event, n));
                self.consider(fewer);
            }
        }
    }

    fn drop_events(&mut self, size: usize) {
        let mut at = 0;
        while at < self.world.events.len() {
            let mut fewer = self.world.clone();
            fewer.events.drain(at..(at + size).min(fewer.events.len()));
            if !self.consider(fewer) {
                at += size;
            }
        }
    }
}

/// Whether the event still has a meaning without source `n`; sources behind it move up.
fn without(event: &mut Event, n: usize) -> bool {
    let source = match event {
        Event::Task(source, _) | Event::Fault(source, _) => source,
        Event::Register(registration) => &mut registration.source,
        Event::WrongKey(wrong) => &mut wrong.source,
        Event::Down(down) => match &mut down.change {
            Some(change) => change.source(),
            None => return true,
        },
        Event::Reload(reload) => match &mut reload.change {
            Some(change) => change.source(),
            None => return true,
        },
        Event::Scraper(_) | Event::Disk(_) | Event::Leap(_) => return true,
    };
    if *source == n {
        if let Event::Down(down) = event {
            down.change = None;
            return true;
        }
        return false;
    }
    *source -= usize::from(*source > n);
    true
}
