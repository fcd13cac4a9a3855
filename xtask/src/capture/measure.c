/* A program of the lab that the firmware runs before the boot loader: it has the firmware measure what a file beside it
 * says, as another boot loader would (TCG EFI Protocol Specification, section 6.6). The events are given; log, digests and
 * registers are the firmware's and the TPM's.
 *
 * The file: for each event its register, type and size, 32 bits each, little endian, and then its data. */
#include <efi.h>
#include <efilib.h>

#define MOST_BYTES (64 * 1024)
#define HEADER_BYTES 14

struct event {
    UINT32 size;
    UINT32 header_size;
    UINT16 header_version;
    UINT32 pcr;
    UINT32 type;
    UINT8 data[];
} __attribute__((packed));

struct tcg2 {
    void *capability;
    void *log;
    EFI_STATUS(EFIAPI *measure)(struct tcg2 *, UINT64, EFI_PHYSICAL_ADDRESS, UINT64, struct event *);
};

struct record {
    UINT32 pcr;
    UINT32 type;
    UINT32 size;
    UINT8 data[];
} __attribute__((packed));

static EFI_STATUS read_events(EFI_HANDLE image, UINT8 *buffer, UINTN *size) {
    EFI_GUID loaded_id = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_GUID files_id = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;
    EFI_FILE_IO_INTERFACE *files;
    EFI_FILE_HANDLE root, file;
    EFI_STATUS status = BS->HandleProtocol(image, &loaded_id, (void **)&loaded);
    if (EFI_ERROR(status))
        return status;
    status = BS->HandleProtocol(loaded->DeviceHandle, &files_id, (void **)&files);
    if (EFI_ERROR(status))
        return status;
    status = files->OpenVolume(files, &root);
    if (EFI_ERROR(status))
        return status;
    status = root->Open(root, &file, (CHAR16 *)L"\\EFI\\extra\\events.bin", EFI_FILE_MODE_READ, 0);
    if (EFI_ERROR(status))
        return status;
    status = file->Read(file, size, buffer);
    file->Close(file);
    root->Close(root);
    return status;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system) {
    EFI_GUID tcg2_id = {0x607f766c, 0x7455, 0x42be, {0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f}};
    struct tcg2 *tcg2;
    UINT8 *bytes;
    struct event *event;
    UINTN size = MOST_BYTES, at = 0;
    EFI_STATUS status;

    InitializeLib(image, system);
    status = BS->LocateProtocol(&tcg2_id, NULL, (void **)&tcg2);
    if (EFI_ERROR(status))
        return status;
    status = BS->AllocatePool(EfiLoaderData, MOST_BYTES, (void **)&bytes);
    if (EFI_ERROR(status))
        return status;
    status = BS->AllocatePool(EfiLoaderData, MOST_BYTES, (void **)&event);
    if (EFI_ERROR(status))
        return status;
    status = read_events(image, bytes, &size);
    while (!EFI_ERROR(status) && size - at >= sizeof(struct record)) {
        struct record *record = (struct record *)(bytes + at);
        if (record->size > size - at - sizeof(*record))
            return EFI_BAD_BUFFER_SIZE;
        event->size = sizeof(*event) + record->size;
        event->header_size = HEADER_BYTES;
        event->header_version = 1;
        event->pcr = record->pcr;
        event->type = record->type;
        BS->CopyMem(event->data, record->data, record->size);
        status = tcg2->measure(tcg2, 0, (EFI_PHYSICAL_ADDRESS)(UINTN)record->data, record->size, event);
        at += sizeof(*record) + record->size;
    }
    return status;
}
