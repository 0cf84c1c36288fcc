//! The items that tests, benches and fuzz targets take. netmon is a program: this library is no
//! API, and may change with every commit.

pub use netmon_common::Namespaces;

pub use crate::{
    core::{
        arguments::Arguments,
        cgroup::{Cgroup, Names},
        change::{Change, Resync, Step},
        connection::{Connection, Direction},
        event::{DumpScope, Event, Opening, ResetSide, Seed, Totals, Transition},
        filter::{Filter, FilterNames, RowKind},
        finding::{Diagnosis, Finding, FindingState},
        id::{Binding, ConnectionId, HolderKey, SocketId, Tuple},
        loss::{Gap, Loss},
        process::{Evidence, Owner, Process, SocketHolders},
        program::{Ancestor, KnownProcess, Login, Program},
        services::Services,
        socket::{Protocol, Socket, TcpInfo, Timer, TimerKind, UnixSocket},
        table::ConnectionTable,
        tcp::TcpState,
        time::{Anchor, Mono, TimeSpan, Wall},
        verdict::{FirstFin, Verdict, judge},
    },
    journal::{
        Dataset, HostNames, Journal, NamedNamespace, Recorder, RecorderHandle, RecorderOptions,
        Retention, entries_of,
    },
    kernel::{
        MalformedCapture, OfflineAssembler, OfflineRings, events_of_capture,
        host::privilege::CAPABILITIES,
        sockets::proc::{parse_inet, parse_unix, read_inet},
    },
    session::{Limits, Session, SessionScope, Source, TableInput, Tables, View, run},
    view::{
        changes::{appearance::Appearance, json::Json, lines::Lines},
        doctor::{json as doctor_json, text as doctor_text},
        language::{Language, PT_BR},
        listing::{
            ListingNames, ListingView, NetstatColumns,
            json::JsonRows,
            name_cache::NameCache,
            netstat::{Listening, Netstat},
        },
        summary::{Summary, SummaryForm},
        tui::{
            Inspected, Jump, NameQuery, PastFrame, ScreenAnswer, ScreenOptions, ScreenQuery,
            ScreenSettings, ScreenState, Size, TIMELINE_PARTS, TerminalEvent, Timeline, Traffic,
            TrafficFigures, TrafficScope, frame, terminal::TerminalGuard,
        },
    },
};
