//! A record into its server's windows: judged, its layout looked up, counted; or told that it is late.
//!
//! Invariant: nothing is remembered of a record that is refused as a whole or late.

use tidewatch_schemas::{
    AggregateKind, Reason, ServerName,
    validate::{MAX_VALUE, check_server_name, check_time},
};

use super::{
    Beginning, Begun, PartitionWindows, Verdict,
    brought::{Brought, Cells, Values},
    context,
    rule::Rule,
    server::{SentLayout, Server},
    window_end,
};
use crate::{
    aggregate::Cell,
    columns::Columns,
    encode::{Room, Rows, SeriesList},
    layout::Refusal,
    read::{self, FrameView, NO_LAYOUT, WindowView},
};

/// A server's number and its entry for a layout; or the layout, if it never sent that.
type Found = Result<(u32, u32), SentLayout>;

impl PartitionWindows {
    pub(super) fn take_frame(
        &mut self,
        here: Beginning,
        append_time: i64,
        frame: &FrameView<'_>,
        known: Option<u32>,
    ) -> Result<Verdict, Refusal> {
        let named = frame.named_layout();
        let predicted = self.predict(known, frame.body, named);
        let announced = named.and_then(|id| self.layouts.announced(id));
        let (extent, series) = match (predicted, named) {
            (Some((known, entry)), _) => self.servers[known as usize].extent(entry, named.is_some()),
            (None, Some(_)) => (NO_LAYOUT, announced.map_or(0, |announced| announced.series)),
            (None, None) => read::layout_extent(frame.body).map_err(undecodable)?,
        };
        let (layout, values) = frame.body.split_at(extent);
        let rest = read::values(values, &mut self.values).map_err(undecodable)?;
        let histograms = read::histograms(rest, frame.version).map_err(undecodable)?;
        // only of bytes that are a frame: what they say of themselves is worth nothing otherwise
        check_head(frame.server, known, frame.collected_at, append_time)?;
        if let Some(id) = named
            && predicted.is_none()
            && announced.is_none()
        {
            return Err(Refusal::new(Reason::UnknownLayout, format!("layout {id} was never announced")));
        }
        if self.values.len() != series {
            let message = format!("{} values for {series} series", self.values.len());
            return Err(Refusal::new(Reason::LayoutMismatch, message));
        }
        if series == 0 && histograms.is_empty() {
            return Err(Refusal::new(Reason::NoMetrics, "a frame without values"));
        }
        let late = self.is_late(frame.collected_at);
        if late && !self.setup.settings.backfill {
            return Ok(Verdict::Late);
        }
        if !late {
            self.check_room(known, frame.collected_at)?;
        }
        let found = match predicted {
            Some(found) => Ok(found),
            None => self.find(frame.server, known, layout, named)?,
        };
        let arrivals = &mut self.scratch.arrivals;
        arrivals
            .read(&mut self.layouts, self.hasher, frame.server, histograms, MAX_VALUE)
            .map_err(undecodable)?;
        let shape = match &found {
            Ok((known, entry)) => self.servers[*known as usize].shape(*entry),
            Err(new) => &new.shape,
        };
        let plan = shape.plan.clone();
        if let Some(plan) = plan {
            plan.apply(&self.values, &mut self.transformed);
            std::mem::swap(&mut self.values, &mut self.transformed);
        }
        let values = std::mem::take(&mut self.values);
        let all_good = values.iter().fold(true, |good, value| good & (value.abs() <= MAX_VALUE));
        let time = frame.collected_at;
        let brought = Values { time, list: &values, all_good };
        let verdict = if late {
            Ok(self.backfill(here.offset, frame.server, &found, time, &brought))
        } else {
            let (known, entry) = self.learn(frame.server, known, found);
            self.count(here, known, entry, (time, time), frame.sequence, &brought)
        };
        self.values = values;
        verdict
    }

    pub(super) fn take_window(
        &mut self,
        here: Beginning,
        append_time: i64,
        window: &WindowView<'_>,
        known: Option<u32>,
    ) -> Result<Verdict, Refusal> {
        let predicted = self.predict(known, window.body, None);
        let (extent, series) = match predicted {
            Some((known, entry)) => self.servers[known as usize].extent(entry, false),
            None => read::layout_extent(window.body).map_err(undecodable)?,
        };
        let (layout, rest) = window.body.split_at(extent);
        let columns = read::columns(rest, window.version).map_err(undecodable)?;
        let (time, length) = (window.window_start, window.window_ms);
        check_head(window.server, known, time, append_time)?;
        let shortest = self.setup.settings.shortest();
        let fits = (1..shortest).contains(&length) && shortest % length == 0 && time.rem_euclid(length) == 0;
        if !fits || !columns.are_of(series) || columns.count.longs().any(|count| count <= 0) {
            return Err(Refusal::new(Reason::LayoutMismatch, "a window that is no part of one of this tier"));
        }
        let late = self.is_late(time);
        if late && !self.setup.settings.backfill {
            return Ok(Verdict::Late);
        }
        if !late {
            self.check_room(known, time)?;
        }
        let found = match predicted {
            Some(found) => Ok(found),
            None => self.find(window.server, known, layout, None)?,
        };
        let arrivals = &mut self.scratch.arrivals;
        arrivals
            .read(&mut self.layouts, self.hasher, window.server, columns.histograms, f64::MAX)
            .map_err(undecodable)?;
        let mut cells = std::mem::take(&mut self.cells);
        cells.clear();
        cells.extend(columns.rows().map(|row| Cell::of_row(length, &row)));
        let brought = Cells { start: time, rows: &cells };
        let verdict = if late {
            Ok(self.backfill(here.offset, window.server, &found, time, &brought))
        } else {
            let (known, entry) = self.learn(window.server, known, found);
            // unique within the span: a record of the log makes one window a record at most
            let child = time.rem_euclid(self.setup.settings.longest()) / length;
            let sequence = (window.offset << 12 | child & 0xFFF).saturating_add(1);
            self.count(here, known, entry, (time, time + length), sequence, &brought)
        };
        self.cells = cells;
        verdict
    }

    /// The server, and its entry for the layout that is likely to come next, if it has come.
    fn predict(&self, known: Option<u32>, body: &[u8], named: Option<i64>) -> Option<(u32, u32)> {
        let known = known?;
        let entry = self.servers[known as usize].predict(body, named, self.hasher)?;
        Some((known, entry))
    }

    fn is_late(&self, time: i64) -> bool {
        window_end(time, self.setup.settings.shortest()) <= self.floor
    }

    /// Whether the span of this time has the server, or takes one more.
    fn check_room(&self, known: Option<u32>, time: i64) -> Result<(), Refusal> {
        let settings = &self.setup.settings;
        let end = window_end(time, settings.longest());
        if known.is_some_and(|known| self.servers[known as usize].has_span(end)) {
            return Ok(());
        }
        let (servers, most) = (self.begun.get(&end).map_or(0, |begun| begun.servers), settings.max_servers);
        if servers < most {
            return Ok(());
        }
        let message = format!("more than {most} servers of one partition");
        Err(Refusal::new(Reason::TooManyServers, message))
    }

    /// The server's entry for a layout, or what to make one of; `named` is the id in place of the layout.
    fn find(
        &mut self,
        server: &str,
        known: Option<u32>,
        layout: &[u8],
        named: Option<i64>,
    ) -> Result<Found, Refusal> {
        let announced = named.and_then(|id| self.layouts.announced(id).cloned());
        let (hash, layout) = match &announced {
            Some(announced) => (announced.hash, announced.bytes.as_ref()),
            None => (self.hasher.hash(layout), layout),
        };
        if let Some(known) = known
            && let Some(entry) = self.servers[known as usize].find(hash)
        {
            if let Some(id) = named {
                self.servers[known as usize].name(entry, id);
            }
            return Ok(Ok((known, entry)));
        }
        let shape = self.layouts.shape(server, hash, layout).map_err(undecodable)?;
        Ok(Err(SentLayout { hash, id: named.unwrap_or(0), len: layout.len() as u32, shape }))
    }

    fn learn(&mut self, name: &str, known: Option<u32>, found: Found) -> (u32, u32) {
        found.unwrap_or_else(|layout| {
            let known = known.unwrap_or_else(|| self.admit(name));
            let most = self.setup.settings.max_series as usize;
            (known, self.servers[known as usize].learn(layout, most))
        })
    }

    /// A number for a server that was not known.
    fn admit(&mut self, name: &str) -> u32 {
        let server = Server::new(name, self.clock);
        let number = if let Some(number) = self.vacant.pop() {
            self.servers[number as usize] = server;
            number
        } else {
            self.servers.push(server);
            (self.servers.len() - 1) as u32
        };
        self.names.insert(name.into(), number);
        number
    }

    fn count(
        &mut self,
        here: Beginning,
        known: u32,
        entry: u32,
        times: (i64, i64),
        sequence: i64,
        brought: &impl Brought,
    ) -> Result<Verdict, Refusal> {
        let span_end = window_end(times.0, self.setup.settings.longest());
        let live = self.emits(here.offset);
        let tolerant = self.breaks(Rule::NoRepeats);
        let context = context(self.partition, &self.setup, &self.tiers, self.hasher, here.offset, self.clock);
        let server = &mut self.servers[known as usize];
        if !server.has_span(span_end) {
            // even a frame that turns out to hold nothing good leaves its mark on the span
            let begun = self.begun.entry(span_end).or_insert(Begun { beginning: here, servers: 0 });
            begun.servers += 1;
        }
        let span = server.span(span_end, self.tiers.count(), self.setup.settings.max_series as usize);
        if !server.is_new(span, sequence) && !tolerant {
            let message = format!("sequence {sequence} of {} was counted before", server.name);
            return Err(Refusal::new(Reason::Duplicate, message));
        }
        let emit = live.then_some(&mut self.output);
        Ok(server.take(&context, span, entry, times, brought, &mut self.scratch, emit))
    }

    /// What is too late for any window, as deltas of its own. Nobody remembers its sequence any more.
    fn backfill(
        &mut self,
        offset: i64,
        server: &str,
        found: &Found,
        time: i64,
        brought: &impl Brought,
    ) -> Verdict {
        if !self.emits(offset) {
            return Verdict::Late;
        }
        let shape = match found {
            Ok((known, entry)) => self.servers[*known as usize].shape(*entry),
            Err(new) => &new.shape,
        };
        let (bad, _) = shape.layout.bad();
        let mut series = SeriesList::default();
        series.append(&shape.layout, None);
        let context = context(self.partition, &self.setup, &self.tiers, self.hasher, offset, self.clock);
        for tier in &self.tiers.0 {
            let end = window_end(time, tier.ms);
            let mut columns = Columns::default();
            columns.grow(brought.len(), series.has_counters());
            let mut room = Room::new(context.settings.max_series as usize);
            for index in 0..brought.len() {
                if !room.take(1, shape.layout.series(index as u32).len()) {
                    break;
                }
                if bad.binary_search(&(index as u32)).is_err() && brought.check(index) == Ok(true) {
                    brought.add(index, end - tier.ms, index, &mut columns);
                }
            }
            let rows = Rows { columns: &columns, series: &series, slots: None };
            let mut histograms = self.scratch.arrivals.rows();
            histograms.retain(|(series, _)| room.take_histogram(series.len()));
            let identity = context.identity(end, tier.ms, AggregateKind::Delta);
            self.output.push(server, &identity, &rows, &histograms);
        }
        Verdict::Late
    }
}

fn undecodable(error: read::ReadError) -> Refusal {
    Refusal::new(Reason::Undecodable, error.to_string())
}

/// What makes a whole record useless, whatever it holds.
fn check_head(server: &str, known: Option<u32>, time: i64, append_time: i64) -> Result<(), Refusal> {
    if known.is_none() {
        check_server_name(server).map_err(|reason| {
            let most = ServerName::MAX_BYTES;
            Refusal::new(reason, format!("server name has to be 1 to {most} bytes of readable text"))
        })?;
    }
    check_time(time, append_time).map_err(|reason| {
        Refusal::new(reason, format!("collected_at {time} against append time {append_time}"))
    })
}
