//! A kernel update, predicted from the files before the machine boots them: real firmware, shim, GRUB and kernels, and a
//! GRUB configuration in the manner of grub-mkconfig. What boots then deviates in nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use veriboot_appraisal::{Baseline, LogReport, Profile, examine, judge};
use veriboot_eventlog::HashAlg;
use veriboot_predict::disk::Disk;
use veriboot_predict::{Inputs, Prediction, predict, sha256_of};
use veriboot_testkit::vm::{
    BootChain, CMDLINE, Capture, Job, Kernel, Lab, LabOptions, Machine, MachineBuilder,
};

const LIMIT: Duration = Duration::from_secs(300);
const BANK: HashAlg = HashAlg::Sha256;

/// Entries for these releases, newest first; the newest one boots.
fn grub_config(releases: &[&str]) -> String {
    let entry = |title: &str, id: &str, release: &str, indent: &str| {
        format!(
            "{indent}menuentry '{title}' --class debian --class gnu-linux --class os $menuentry_id_option '{id}' {{\n\
             {indent}\tload_video\n\
             {indent}\tinsmod gzio\n\
             {indent}\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi\n\
             {indent}\tinsmod part_gpt\n\
             {indent}\tinsmod fat\n\
             {indent}\tsearch --no-floppy --fs-uuid --set=root 5642-5442\n\
             {indent}\techo\t'Loading Linux {release} ...'\n\
             {indent}\tlinux\t/boot/vmlinuz-{release} {CMDLINE}  \n\
             {indent}\techo\t'Loading initial ramdisk ...'\n\
             {indent}\tinitrd\t/boot/initrd.img-{release}\n\
             {indent}}}\n"
        )
    };
    let advanced: String = releases
        .iter()
        .map(|release| {
            entry(
                &format!("Debian, with Linux {release}"),
                &format!("gnulinux-{release}-advanced"),
                release,
                "\t",
            )
        })
        .collect();
    format!(
        r#"# Made in the manner of grub-mkconfig.
serial --unit=0
terminal_output serial
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   set boot_once=true
else
   set default="0"
fi

if [ x"${{feature_menuentry_id}}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi

export menuentry_id_option

function load_video {{
  if [ x$feature_all_video_module = xy ]; then
    true
  else
    insmod efi_gop
  fi
}}

if [ "${{recordfail}}" = 1 ] ; then
  set timeout=30
else
  if [ x$feature_timeout_style = xy ] ; then
    set timeout_style=menu
    set timeout=0
  else
    set timeout=0
  fi
fi
{}submenu 'Advanced options' $menuentry_id_option 'gnulinux-advanced' {{
{advanced}}}
if [ -f ${{config_directory}}/custom.cfg ]; then
  source ${{config_directory}}/custom.cfg
fi
"#,
        entry("Debian GNU/Linux", "gnulinux-simple", releases[0], "")
    )
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn text(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn boot(machine: &Machine<'_>) -> LogReport {
    let report = machine.run(&Job::new().capture(), LIMIT, &mut |_| true).unwrap();
    examine(&Capture::of(&report).unwrap().event_log)
}

/// The findings of a boot that the baseline must accept.
fn deviations(boot: &LogReport, baseline: &Baseline) -> Vec<String> {
    let judgement = judge(boot, BANK, Some(&baseline.clone().compile()), &Profile::secure_boot_required());
    assert!(judgement.proposed.is_none());
    judgement.findings.iter().map(|f| format!("{}: {}", f.code, f.message)).collect()
}

fn with(baseline: &Baseline, prediction: &Prediction) -> Baseline {
    baseline.with_measurements(prediction.boot.clone().expect("something changes")).unwrap()
}

#[test]
fn a_kernel_update_is_predicted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    if std::env::var_os("VERIBOOT_MACHINES").is_none() && !root.join(".cache/lab/packages").is_dir() {
        println!("skipped: the lab was never used here, `cargo xtask boot` prepares it");
        return;
    }
    let lab = Lab::prepare(&root.join(".cache/lab"), LabOptions { variants: true }, &mut |_| {}).unwrap();
    let files = Files { folder: tempfile::tempdir().unwrap() };
    let other = lab.variants.as_ref().map(|variants| variants.kernel.clone()).unwrap();
    let (older, newer): (&Kernel, &Kernel) = (&other, &lab.kernel);
    let initrds = [older, newer].map(|kernel| lab.initramfs(kernel, &[], "predict").unwrap());
    // Both kernels lie on the disk, before and after, as they do on a machine; only the configuration changes.
    let machine = |name: &str, config: &Path| {
        let chain = BootChain::ShimGrub { kernel: older.image.clone(), initrd: initrds[0].clone() };
        let mut builder =
            MachineBuilder::new(&lab, name, chain).boot_file("EFI/debian/grub.cfg", config.to_owned());
        for (kernel, initrd) in [older, newer].into_iter().zip(&initrds) {
            builder = builder
                .boot_file(&format!("boot/vmlinuz-{}", kernel.release), kernel.image.clone())
                .boot_file(&format!("boot/initrd.img-{}", kernel.release), initrd.clone());
        }
        builder.build(&files.folder.path().join(name)).unwrap()
    };
    let before = files.text("before.cfg", &grub_config(&[&older.release]));
    let after = files.text("grub.cfg", &grub_config(&[&newer.release, &older.release]));

    let reference = boot(&machine("before", &before));
    let baseline = Baseline::learn(&reference, BANK).unwrap();
    let updated = machine("after", &after);

    // From the package, the initrd and the configuration.
    let mut inputs = Inputs::new();
    let package = root.join(".cache/lab/packages/archives").join(newer.package.root.file_name().unwrap());
    inputs.add_deb("linux-image.deb", &std::fs::read(&package).unwrap()).unwrap();
    let initrd_name = format!("initrd.img-{}", newer.release);
    inputs.add_initrd(&initrd_name, std::fs::read(&initrds[1]).unwrap()).unwrap();
    inputs.add_grub_config("grub.cfg", std::fs::read(&after).unwrap()).unwrap();
    let from_files = predict(&baseline, &inputs).unwrap();
    assert!(from_files.is_complete(), "{:#?}", from_files.unpredicted);

    // From the very disk that will boot.
    let image = std::fs::read(updated.folder().join("disk.img")).unwrap();
    let sha256 = sha256_of(&image).unwrap();
    let mut inputs = Inputs::new();
    inputs.set_disk("disk.img", sha256, Disk::open(Rc::new(image)).unwrap()).unwrap();
    let from_disk = predict(&baseline, &inputs).unwrap();
    assert!(from_disk.is_complete(), "{:#?}", from_disk.unpredicted);
    let measured = |prediction: &Prediction| prediction.boot.clone().unwrap().measurements;
    assert_eq!(measured(&from_files), measured(&from_disk));

    // Without the initrd the prediction is not complete, and says where.
    let mut inputs = Inputs::new();
    inputs.add_deb("linux-image.deb", &std::fs::read(&package).unwrap()).unwrap();
    inputs.add_grub_config("grub.cfg", std::fs::read(&after).unwrap()).unwrap();
    let partial = predict(&baseline, &inputs).unwrap();
    assert_eq!(partial.unpredicted.iter().map(|p| p.code).collect::<Vec<_>>(), ["initrd-missing"]);

    let next = boot(&updated);
    assert!(!deviations(&next, &baseline).is_empty(), "the update changes what is measured");
    assert_eq!(deviations(&next, &with(&baseline, &from_files)), Vec::<String>::new());
    assert_eq!(
        deviations(&reference, &with(&baseline, &from_files)),
        Vec::<String>::new(),
        "the old kernel may still boot"
    );
    let open = deviations(&next, &with(&baseline, &partial));
    assert!(!open.is_empty() && open.iter().all(|text| text.contains("initrd")), "{open:?}");
}
