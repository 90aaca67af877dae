using System.Buffers.Binary;
using System.Text;

namespace Tessera.Images.Elf;

/// <summary>Reads ELF note areas and keeps what Xen's notes say. A later note of the same number replaces an earlier one, as in Xen.</summary>
internal static class NoteParser
{
    private const int HeaderBytes = 12;

    public static XenNotes Add(XenNotes notes, ImageBytes image, ulong offset, ulong length, ulong alignment, string area)
    {
        ReadOnlySpan<byte> bytes = image.Slice(offset, length, area).Span;
        // Notes are padded to 4 bytes, in areas aligned to 8 (GNU properties) to 8.
        uint pad = alignment == 8 ? 8U : 4U;
        ulong at = 0;
        while ((ulong)bytes.Length - at >= HeaderBytes)
        {
            ReadOnlySpan<byte> header = bytes.Slice((int)at, HeaderBytes);
            uint nameSize = BinaryPrimitives.ReadUInt32LittleEndian(header);
            uint dataSize = BinaryPrimitives.ReadUInt32LittleEndian(header[4..]);
            uint type = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]);
            ulong nameAt = at + HeaderBytes;
            ulong dataAt = RoundUp(nameAt + nameSize, pad);
            if (dataAt + dataSize > (ulong)bytes.Length)
                throw image.Fail($"{area} at offset 0x{offset + at:x}", $"a note with a name of {nameSize} and data of {dataSize} bytes runs past the area's 0x{length:x} bytes",
                    "The file is damaged: fetch or build it again");
            if (bytes.Slice((int)nameAt, (int)nameSize).SequenceEqual("Xen\0"u8))
                notes = AddXen(notes, image, type, bytes.Slice((int)dataAt, (int)dataSize), $"{area} at offset 0x{offset + at:x}");
            else if (type == 1 && bytes.Slice((int)nameAt, (int)nameSize).SequenceEqual("Tessera\0"u8))
                notes = notes with { ReportPageAddress = Number(image, bytes.Slice((int)dataAt, (int)dataSize), $"{area} at offset 0x{offset + at:x}", "Tessera report page") };
            at = Math.Min(RoundUp(dataAt + dataSize, pad), (ulong)bytes.Length);
        }
        return notes;
    }

    private static XenNotes AddXen(XenNotes notes, ImageBytes image, uint type, ReadOnlySpan<byte> data, string where)
    {
        notes = notes with { Count = notes.Count + 1 };
        return type switch
        {
            0 => notes with { Info = [.. notes.Info, Text(data)] },
            1 => notes with { Entry = Number(image, data, where, "ENTRY") },
            2 => notes with { HypercallPage = Number(image, data, where, "HYPERCALL_PAGE") },
            3 => notes with { VirtBase = Number(image, data, where, "VIRT_BASE") },
            4 => notes with { PaddrOffset = Number(image, data, where, "PADDR_OFFSET") },
            5 => notes with { XenVersion = Text(data) },
            6 => notes with { GuestOs = Text(data) },
            7 => notes with { GuestVersion = Text(data) },
            8 => notes with { Loader = Text(data) },
            9 => notes with { PaeMode = Text(data) },
            10 => notes with { Features = Text(data) },
            11 => notes with { BsdSymtab = Text(data) },
            12 => notes with { HvStartLow = Number(image, data, where, "HV_START_LOW") },
            13 => notes with { L1MfnValid = Pairs(image, data, where) },
            14 => notes with { SuspendCancel = Number(image, data, where, "SUSPEND_CANCEL") },
            15 => notes with { InitP2M = Number(image, data, where, "INIT_P2M") },
            16 => notes with { ModStartPfn = Number(image, data, where, "MOD_START_PFN") },
            17 => notes with { SupportedFeatures = Number(image, data, where, "SUPPORTED_FEATURES") },
            18 => notes with { Phys32Entry = Number(image, data, where, "PHYS32_ENTRY") },
            _ => notes,
        };
    }

    private static ulong Number(ImageBytes image, ReadOnlySpan<byte> data, string where, string name) => data.Length switch
    {
        4 => BinaryPrimitives.ReadUInt32LittleEndian(data),
        8 => BinaryPrimitives.ReadUInt64LittleEndian(data),
        _ => throw image.Fail(where, $"the note {name} has {data.Length} bytes", "A numeric note has 4 or 8 bytes"),
    };

    // Linux writes one pair; the note may hold any number of them.
    private static L1MfnValid[] Pairs(ImageBytes image, ReadOnlySpan<byte> data, string where)
    {
        if (data.Length % 16 != 0)
            throw image.Fail(where, $"the Xen note L1_MFN_VALID has {data.Length} bytes", "It holds pairs of two 8-byte numbers");
        L1MfnValid[] pairs = new L1MfnValid[data.Length / 16];
        for (int i = 0; i < pairs.Length; i++)
            pairs[i] = new(BinaryPrimitives.ReadUInt64LittleEndian(data[(i * 16)..]), BinaryPrimitives.ReadUInt64LittleEndian(data[(i * 16 + 8)..]));
        return pairs;
    }

    // Strings end at a NUL, but Linux writes FEATURES without one.
    private static string Text(ReadOnlySpan<byte> data)
    {
        int end = data.IndexOf((byte)0);
        return Encoding.ASCII.GetString(end < 0 ? data : data[..end]);
    }

    private static ulong RoundUp(ulong value, uint alignment) => (value + alignment - 1) & ~(ulong)(alignment - 1);
}
