//! The messages against an oracle: containerd-shim-protos, generated from containerd's .proto files
//! by another protobuf implementation, which also has reflection.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use containerd_shim_protos::protobuf::reflect::{
    FieldDescriptor, ReflectFieldRef, ReflectValueBox, ReflectValueRef, RuntimeFieldType,
    RuntimeType,
};
use containerd_shim_protos::protobuf::well_known_types;
use containerd_shim_protos::protobuf::{EnumFull, MessageDyn, MessageFull};
use containerd_shim_protos::{
    api, bootstrap_api, cgroups, cgroups_v2, events as oracle_events, shim::oci, topics, ttrpc,
    types as oracle_types,
};
use proptest::prelude::*;
use prost::Message;

use super::events::Event;
use super::{Typed, bootstrap, events, metrics, options, task, types, wire};

/// Sets fields, each to a value that no other has. Numbers are close to their type's limits: a field
/// that is declared too small, or with another encoding, is noticed.
#[derive(Default)]
struct Filler {
    count: u32,
}

impl Filler {
    fn value(&mut self, of: &RuntimeType) -> ReflectValueBox {
        self.count += 1;
        let count = self.count;
        match of {
            RuntimeType::I32 => ReflectValueBox::I32(i32::MIN + i32::try_from(count).unwrap()),
            RuntimeType::I64 => ReflectValueBox::I64(i64::MIN + i64::from(count)),
            RuntimeType::U32 => ReflectValueBox::U32(u32::MAX - count),
            RuntimeType::U64 => ReflectValueBox::U64(u64::MAX - u64::from(count)),
            RuntimeType::F32 => panic!("no message has a float"),
            RuntimeType::F64 => ReflectValueBox::F64(f64::from(count) + 0.5),
            RuntimeType::Bool => ReflectValueBox::Bool(true),
            RuntimeType::String => ReflectValueBox::String(format!("text {count}")),
            RuntimeType::VecU8 => ReflectValueBox::Bytes(format!("bytes {count}").into_bytes()),
            RuntimeType::Enum(values) => {
                let last = values.values().last().unwrap().value();
                ReflectValueBox::Enum(values.clone(), last)
            }
            RuntimeType::Message(of) => {
                let mut message = of.new_instance();
                for field in of.fields() {
                    self.set(&mut *message, &field);
                }
                ReflectValueBox::Message(message)
            }
        }
    }

    fn set(&mut self, message: &mut dyn MessageDyn, field: &FieldDescriptor) {
        match field.runtime_field_type() {
            RuntimeFieldType::Singular(of) => {
                field.set_singular_field(message, self.value(&of));
            }
            RuntimeFieldType::Repeated(of) => {
                for _ in 0..3 {
                    field.mut_repeated(message).push(self.value(&of));
                }
            }
            RuntimeFieldType::Map(key, value) => {
                for _ in 0..3 {
                    field.mut_map(message).insert(self.value(&key), self.value(&value));
                }
            }
        }
    }
}

/// How `Debug` shows a field of ours that holds what [`Filler`] put into theirs, as far as it tells
/// it from all others.
fn shown(field: &FieldDescriptor, message: &dyn MessageDyn) -> String {
    let name = match field.name() {
        "type" => "r#type",
        name => name,
    };
    match field.get_reflect(message) {
        ReflectFieldRef::Optional(value) => {
            let value = value.value().unwrap();
            let present =
                matches!(value, ReflectValueRef::Message(_)) || field.proto().has_proto3_optional();
            let before = if present { "Some(" } else { "" };
            format!("{name}: {before}{}", value_shown(&value))
        }
        ReflectFieldRef::Repeated(values) => format!("{name}: [{}", value_shown(&values.get(0))),
        ReflectFieldRef::Map(_) => format!("{name}: {{\"text"),
    }
}

fn value_shown(value: &ReflectValueRef<'_>) -> String {
    match value {
        ReflectValueRef::U32(value) => format!("{value:?}"),
        ReflectValueRef::U64(value) => format!("{value:?}"),
        ReflectValueRef::I32(value) => format!("{value:?}"),
        ReflectValueRef::I64(value) => format!("{value:?}"),
        ReflectValueRef::F32(value) => format!("{value:?}"),
        ReflectValueRef::F64(value) => format!("{value:?}"),
        ReflectValueRef::Bool(value) => format!("{value:?}"),
        ReflectValueRef::String(value) => format!("{value:?}"),
        ReflectValueRef::Bytes(value) => format!("{value:?}"),
        // Ours is named in Rust's way; no message has two fields of one enum.
        ReflectValueRef::Enum(..) => String::new(),
        ReflectValueRef::Message(message) => format!("{} {{", message.descriptor_dyn().name()),
    }
}

/// Theirs with these fields set, through ours and back. Whatever ours lacks or has under another
/// number or type is missing or unknown then.
fn through<Ours, Theirs>(fields: &[FieldDescriptor])
where
    Ours: Message + Default + Debug,
    Theirs: MessageFull,
{
    let mut filler = Filler::default();
    let mut theirs = Theirs::new();
    for field in fields {
        filler.set(&mut theirs, field);
    }
    let bytes = theirs.write_to_bytes().unwrap();
    let ours = Ours::decode(bytes.as_slice()).unwrap();
    let debug = format!("{ours:?}");
    for field in fields {
        let shown = shown(field, &theirs);
        assert!(debug.contains(&shown), "{} without `{shown}`: {debug}", Theirs::descriptor());
    }
    let back = Theirs::parse_from_bytes(&ours.encode_to_vec()).unwrap();
    assert_eq!(back, theirs);
}

/// Ours is theirs: with no field set, with each alone (so that no two are confused) and with all.
fn same<Ours, Theirs>()
where
    Ours: Message + Default + PartialEq + Debug,
    Theirs: MessageFull,
{
    let name = Theirs::descriptor().name().to_owned();
    let all: Vec<_> = Theirs::descriptor().fields().collect();
    assert_eq!(Ours::decode(&[][..]).unwrap(), Ours::default(), "{name}");
    assert!(Ours::default().encode_to_vec().is_empty(), "{name}");
    for field in &all {
        through::<Ours, Theirs>(std::slice::from_ref(field));
    }
    through::<Ours, Theirs>(&all);
}

/// Whatever is accepted is written the same way again.
fn survives<Ours: Message + Default>(bytes: &[u8]) {
    if let Ok(message) = Ours::decode(bytes) {
        let written = message.encode_to_vec();
        assert_eq!(Ours::decode(written.as_slice()).unwrap().encode_to_vec(), written);
    }
}

macro_rules! pairs {
    ($($test:ident { $($ours:ty = $theirs:ty,)* })*) => {
        $(
            #[test]
            fn $test() {
                $(same::<$ours, $theirs>();)*
            }
        )*

        fn decode_as_each(bytes: &[u8]) {
            $($(survives::<$ours>(bytes);)*)*
            survives::<options::RuntimeOptions>(bytes);
        }
    };
}

pairs! {
    wire_messages_are_the_oracles {
        wire::Any = well_known_types::any::Any,
        wire::Timestamp = well_known_types::timestamp::Timestamp,
        wire::Empty = well_known_types::empty::Empty,
        wire::Request = ttrpc::Request,
        wire::Response = ttrpc::Response,
        wire::KeyValue = ttrpc::proto::KeyValue,
        wire::Status = ttrpc::Status,
    }
    types_are_the_oracles {
        types::Mount = oracle_types::mount::Mount,
        types::ProcessInfo = oracle_types::task::ProcessInfo,
    }
    task_messages_are_the_oracles {
        task::CreateTaskRequest = api::CreateTaskRequest,
        task::CreateTaskResponse = api::CreateTaskResponse,
        task::DeleteRequest = api::DeleteRequest,
        task::DeleteResponse = api::DeleteResponse,
        task::ExecProcessRequest = api::ExecProcessRequest,
        task::ResizePtyRequest = api::ResizePtyRequest,
        task::StateRequest = api::StateRequest,
        task::StateResponse = api::StateResponse,
        task::KillRequest = api::KillRequest,
        task::CloseIORequest = api::CloseIORequest,
        task::PidsRequest = api::PidsRequest,
        task::PidsResponse = api::PidsResponse,
        task::CheckpointTaskRequest = api::CheckpointTaskRequest,
        task::UpdateTaskRequest = api::UpdateTaskRequest,
        task::StartRequest = api::StartRequest,
        task::StartResponse = api::StartResponse,
        task::WaitRequest = api::WaitRequest,
        task::WaitResponse = api::WaitResponse,
        task::StatsRequest = api::StatsRequest,
        task::StatsResponse = api::StatsResponse,
        task::ConnectRequest = api::ConnectRequest,
        task::ConnectResponse = api::ConnectResponse,
        task::ShutdownRequest = api::ShutdownRequest,
        task::PauseRequest = api::PauseRequest,
        task::ResumeRequest = api::ResumeRequest,
    }
    event_messages_are_the_oracles {
        events::ForwardRequest = api::ForwardRequest,
        events::Envelope = containerd_shim_protos::shim::event::Envelope,
        events::TaskCreate = oracle_events::task::TaskCreate,
        events::TaskStart = oracle_events::task::TaskStart,
        events::TaskDelete = oracle_events::task::TaskDelete,
        events::TaskIO = oracle_events::task::TaskIO,
        events::TaskExit = oracle_events::task::TaskExit,
        events::TaskOOM = oracle_events::task::TaskOOM,
        events::TaskExecAdded = oracle_events::task::TaskExecAdded,
        events::TaskExecStarted = oracle_events::task::TaskExecStarted,
        events::TaskPaused = oracle_events::task::TaskPaused,
        events::TaskResumed = oracle_events::task::TaskResumed,
    }
    option_messages_are_the_oracles {
        options::Options = oci::Options,
        options::ProcessDetails = oci::ProcessDetails,
        options::RuntimeVersion = oracle_types::introspection::RuntimeVersion,
        options::RuntimeInfo = oracle_types::introspection::RuntimeInfo,
    }
    bootstrap_messages_are_the_oracles {
        bootstrap::BootstrapParams = bootstrap_api::BootstrapParams,
        bootstrap::Extension = bootstrap_api::Extension,
        bootstrap::BootstrapResult = bootstrap_api::BootstrapResult,
    }
    v1_metrics_are_the_oracles {
        metrics::v1::Metrics = cgroups::metrics::Metrics,
        metrics::v1::HugetlbStat = cgroups::metrics::HugetlbStat,
        metrics::v1::PidsStat = cgroups::metrics::PidsStat,
        metrics::v1::CPUStat = cgroups::metrics::CPUStat,
        metrics::v1::CPUUsage = cgroups::metrics::CPUUsage,
        metrics::v1::Throttle = cgroups::metrics::Throttle,
        metrics::v1::MemoryStat = cgroups::metrics::MemoryStat,
        metrics::v1::MemoryEntry = cgroups::metrics::MemoryEntry,
        metrics::v1::MemoryOomControl = cgroups::metrics::MemoryOomControl,
        metrics::v1::BlkIOStat = cgroups::metrics::BlkIOStat,
        metrics::v1::BlkIOEntry = cgroups::metrics::BlkIOEntry,
        metrics::v1::RdmaStat = cgroups::metrics::RdmaStat,
        metrics::v1::RdmaEntry = cgroups::metrics::RdmaEntry,
        metrics::v1::NetworkStat = cgroups::metrics::NetworkStat,
        metrics::v1::CgroupStats = cgroups::metrics::CgroupStats,
    }
    v2_metrics_are_the_oracles {
        metrics::v2::Metrics = cgroups_v2::metrics::Metrics,
        metrics::v2::PSIData = cgroups_v2::metrics::PSIData,
        metrics::v2::PSIStats = cgroups_v2::metrics::PSIStats,
        metrics::v2::PidsStat = cgroups_v2::metrics::PidsStat,
        metrics::v2::CPUStat = cgroups_v2::metrics::CPUStat,
        metrics::v2::MemoryStat = cgroups_v2::metrics::MemoryStat,
        metrics::v2::MemoryEvents = cgroups_v2::metrics::MemoryEvents,
        metrics::v2::RdmaStat = cgroups_v2::metrics::RdmaStat,
        metrics::v2::RdmaEntry = cgroups_v2::metrics::RdmaEntry,
        metrics::v2::IOStat = cgroups_v2::metrics::IOStat,
        metrics::v2::IOEntry = cgroups_v2::metrics::IOEntry,
        metrics::v2::HugeTlbStat = cgroups_v2::metrics::HugeTlbStat,
        metrics::v2::NetworkStat = cgroups_v2::metrics::NetworkStat,
    }
}

/// For what is newer than the oracle, bytes of protoc 35.1 and containerd's and containerd/cgroups'
/// main branch of August 2026:
/// `echo 'type_url: "t" config_path: "p" config_body: "b"' |
/// protoc --encode=runtimeoptions.v1.Options types/runtimeoptions/v1/api.proto | xxd -p`
#[test]
fn what_the_oracle_lacks_is_as_protoc_writes_it() {
    let options = options::RuntimeOptions {
        type_url: "t".to_owned(),
        config_path: "p".to_owned(),
        config_body: b"b".to_vec(),
    };
    assert_eq!(hex(&options), "0a01741201701a0162");
    let memory = metrics::v2::MemoryStat {
        workingset_refault_anon: 1,
        workingset_refault_file: 2,
        workingset_activate_anon: 3,
        workingset_activate_file: 4,
        ..metrics::v2::MemoryStat::default()
    };
    assert_eq!(hex(&memory), "b80201c00202c80203d00204");
    // The oracle has an enum there: `code: 5`.
    let status = wire::Status { code: 5, ..wire::Status::default() };
    assert_eq!(hex(&status), "0805");
    // Of containerd 1.7: `criu_path: "c"`.
    let criu = options::Options { criu_path: "c".to_owned(), ..options::Options::default() };
    assert_eq!(hex(&criu), "420163");
}

fn hex(message: &impl Message) -> String {
    message.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn enums_have_the_oracles_numbers() {
    // `RUNNING` is `Running`, `LOG_LEVEL_INFO` is `Info`.
    fn numbers<Theirs: EnumFull>(prefix: &str) -> Vec<(String, i32)> {
        let name = |name: &str| name.trim_start_matches(prefix).replace('_', "").to_lowercase();
        Theirs::enum_descriptor().values().map(|v| (name(v.name()), v.value())).collect()
    }
    fn ours(value: impl Debug + Into<i32>) -> (String, i32) {
        (format!("{value:?}").to_lowercase(), value.into())
    }
    use bootstrap::{Capability, LogLevel};
    use types::ProcessStatus;
    assert_eq!(
        numbers::<oracle_types::task::Status>(""),
        [
            ours(ProcessStatus::Unknown),
            ours(ProcessStatus::Created),
            ours(ProcessStatus::Running),
            ours(ProcessStatus::Stopped),
            ours(ProcessStatus::Paused),
            ours(ProcessStatus::Pausing),
        ]
    );
    assert_eq!(
        numbers::<bootstrap_api::LogLevel>("LOG_LEVEL_"),
        [
            ours(LogLevel::Info),
            ours(LogLevel::Trace),
            ours(LogLevel::Debug),
            ours(LogLevel::Warn),
            ours(LogLevel::Error),
            ours(LogLevel::Fatal),
            ours(LogLevel::Panic),
        ]
    );
    assert_eq!(
        numbers::<bootstrap_api::Capability>("CAPABILITY_"),
        [ours(Capability::Unspecified)]
    );
}

#[test]
fn types_and_topics_are_the_oracles() {
    fn named<Ours: Typed, Theirs: MessageFull>() {
        assert_eq!(Theirs::descriptor().full_name(), Ours::TYPE_URL);
    }
    fn event<Ours: Event, Theirs: MessageFull>(topic: &str) {
        named::<Ours, Theirs>();
        assert_eq!(Ours::TOPIC, topic);
    }
    use oracle_events::task;
    event::<events::TaskCreate, task::TaskCreate>(topics::TASK_CREATE_EVENT_TOPIC);
    event::<events::TaskStart, task::TaskStart>(topics::TASK_START_EVENT_TOPIC);
    event::<events::TaskDelete, task::TaskDelete>(topics::TASK_DELETE_EVENT_TOPIC);
    event::<events::TaskExit, task::TaskExit>(topics::TASK_EXIT_EVENT_TOPIC);
    event::<events::TaskOOM, task::TaskOOM>(topics::TASK_OOM_EVENT_TOPIC);
    event::<events::TaskExecAdded, task::TaskExecAdded>(topics::TASK_EXEC_ADDED_EVENT_TOPIC);
    event::<events::TaskExecStarted, task::TaskExecStarted>(topics::TASK_EXEC_STARTED_EVENT_TOPIC);
    event::<events::TaskPaused, task::TaskPaused>(topics::TASK_PAUSED_EVENT_TOPIC);
    event::<events::TaskResumed, task::TaskResumed>(topics::TASK_RESUMED_EVENT_TOPIC);
    named::<options::Options, oci::Options>();
    named::<options::ProcessDetails, oci::ProcessDetails>();
    named::<metrics::v1::Metrics, cgroups::metrics::Metrics>();
    named::<metrics::v2::Metrics, cgroups_v2::metrics::Metrics>();
}

#[test]
fn an_any_is_unpacked_as_what_it_is() {
    let options = options::Options { root: "/run/hoist".to_owned(), ..Default::default() };
    let mut any = wire::Any::pack(&options);
    assert_eq!(any.type_url, "containerd.runc.v1.Options");
    assert_eq!(any.unpack(), Ok(Some(options.clone())));
    assert_eq!(any.unpack::<options::RuntimeOptions>(), Ok(None));
    any.type_url = "type.googleapis.com/containerd.runc.v1.Options".to_owned();
    assert_eq!(any.unpack(), Ok(Some(options)));
    any.type_url = "containerd.runc.v1.OptionsX".to_owned();
    assert_eq!(any.unpack::<options::Options>(), Ok(None));
    any = wire::Any { type_url: options::Options::TYPE_URL.to_owned(), value: vec![0xff] };
    assert!(any.unpack::<options::Options>().is_err());
}

#[test]
fn an_envelope_has_the_events_topic_and_type() {
    let exit = events::TaskExit { container_id: "c".to_owned(), pid: 7, ..Default::default() };
    let timestamp = wire::Timestamp { seconds: 1, nanos: 2 };
    let envelope = events::Envelope::of(&exit, "k8s.io", timestamp);
    assert_eq!(envelope.timestamp, Some(timestamp));
    assert_eq!((envelope.namespace.as_str(), envelope.topic.as_str()), ("k8s.io", "/tasks/exit"));
    assert_eq!(envelope.event.unwrap().unpack(), Ok(Some(exit)));
}

#[test]
fn a_timestamp_counts_upwards_before_1970_too() {
    let at = |seconds, nanos| wire::Timestamp { seconds, nanos };
    let epoch = SystemTime::UNIX_EPOCH;
    assert_eq!(wire::Timestamp::from(epoch), at(0, 0));
    assert_eq!(wire::Timestamp::from(epoch + Duration::new(5, 7)), at(5, 7));
    assert_eq!(wire::Timestamp::from(epoch - Duration::new(5, 0)), at(-5, 0));
    assert_eq!(wire::Timestamp::from(epoch - Duration::from_nanos(1)), at(-1, 999_999_999));
}

/// A field as it could come: any number, any type, and for what has a length mostly the right one.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let right_length = prop_oneof![4 => Just(true), 1 => Just(false)];
    let content = proptest::collection::vec(any::<u8>(), 0..24);
    (1_u64..48, 0_u64..8, right_length, content).prop_map(|(number, wire_type, right, content)| {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(number << 3 | wire_type, &mut bytes);
        if wire_type == 2 && right {
            prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        }
        bytes.extend(content);
        bytes
    })
}

proptest! {
    #[test]
    fn random_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        decode_as_each(&bytes);
    }

    #[test]
    fn random_fields_are_survived(fields in proptest::collection::vec(field(), 0..6)) {
        decode_as_each(&fields.concat());
    }
}
