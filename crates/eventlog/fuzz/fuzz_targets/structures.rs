//! Each structure inside event data, without the frame around it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veriboot_eventlog::Certificate;
use veriboot_eventlog::decode::device_path::DevicePath;
use veriboot_eventlog::decode::gpt::PartitionTable;
use veriboot_eventlog::decode::image::Image;
use veriboot_eventlog::decode::load_option::LoadOption;
use veriboot_eventlog::decode::signature_list::SignatureDatabase;
use veriboot_eventlog::decode::sipa::TaggedEvents;
use veriboot_eventlog::decode::variable::Variable;

fuzz_target!(|data: &[u8]| {
    let _ = DevicePath(data).to_string();
    if let Some(certificate) = Certificate::parse(data) {
        let _ = (certificate.subject.to_string(), certificate.issuer.to_string(), certificate.not_after.to_string());
    }
    let database = SignatureDatabase(data);
    let _ = (database.certificates().count(), database.hash_count(), database.is_well_formed());
    if let Some(variable) = Variable::parse(data) {
        let _ = (variable.content(), variable.authority(), variable.boot_number());
    }
    let _ = Image::parse(data).map(|image| image.path.to_string());
    let _ = LoadOption::parse(data).map(|entry| entry.path.to_string());
    let _ = PartitionTable::parse(data).map(|table| table.partitions().count());
    if let Some(events) = TaggedEvents::parse(data) {
        events.walk(&mut |event| {
            let _ = event.value().to_string();
        });
    }
});
