using Tessera.Images.Elf;
using Tessera.Sdk;

namespace Tessera.Images;

/// <summary>
/// A 64-bit Xen PV kernel, checked and unpacked, ready for a domain builder. Read from a Linux bzImage (boot protocol 2.08 or later; payload
/// LZ4, zstd, XZ or gzip) or a plain ELF64 file. Nothing in the file is trusted: every offset is checked before it is used.
/// </summary>
public sealed class KernelImage
{
    private KernelImage(string format, string? version, ElfFile elf, IReadOnlyList<ImageSegment> segments)
    {
        Format = format;
        Version = version;
        Notes = elf.Notes;
        Segments = segments;
        Entry = new(elf.Notes.Entry ?? elf.Entry);
        LowestPhysical = segments.Min(s => s.PhysicalAddress);
        HighestPhysical = segments.Max(s => s.End);
    }

    /// <summary>What the file was: "ELF", "bzImage/lz4", "bzImage/zstd", "bzImage/xz" or "bzImage/gzip".</summary>
    public string Format { get; }

    /// <summary>What a bzImage says its release is, such as "6.1.0-56-cloud-amd64 (debian-kernel@…) #1 SMP …"; null when it says nothing.</summary>
    public string? Version { get; }

    /// <summary>What to load, in file order.</summary>
    public IReadOnlyList<ImageSegment> Segments { get; }

    /// <summary>The virtual address of the first instruction: the ENTRY note, else e_entry.</summary>
    public VirtualAddress Entry { get; }

    /// <summary>The virtual address at which pseudo-physical address 0 is mapped (0 when the kernel has no VIRT_BASE note).</summary>
    public ulong VirtBase => Notes.VirtBase ?? 0;

    /// <summary>What p_paddr exceeds the pseudo-physical address by; already taken off in Segments.</summary>
    public ulong PaddrOffset => Notes.PaddrOffset ?? 0;

    /// <summary>The lowest pseudo-physical byte of any segment.</summary>
    public ulong LowestPhysical { get; }

    /// <summary>The first pseudo-physical byte after all segments.</summary>
    public ulong HighestPhysical { get; }

    /// <summary>Pseudo-physical address of the page in which a built-in guest reports its work; null for any other kernel.</summary>
    public ulong? ReportPageAddress => Notes.ReportPageAddress;

    /// <summary>All of the kernel's Xen notes.</summary>
    public XenNotes Notes { get; }

    /// <summary>Reads a kernel.</summary>
    /// <param name="file">The whole file; kept alive by the segments of a plain ELF.</param>
    /// <param name="nameForErrors">What errors call it, normally its path.</param>
    /// <exception cref="ImageException">The file is no kernel Tessera can run; the message says where and what would be right.</exception>
    public static KernelImage Load(ReadOnlyMemory<byte> file, string nameForErrors)
    {
        ImageBytes image = new(file, nameForErrors);
        string format = "ELF";
        string? version = null;
        if (BzImage.HasMagic(file.Span))
        {
            (byte[] payload, string compression) = BzImage.Unpack(image);
            version = BzImage.ReadVersion(image);
            format = $"bzImage/{compression}";
            image = new(payload, $"{nameForErrors} (unpacked)");
        }
        if (!ElfFile.HasMagic(image.Memory.Span))
            throw image.Fail("offset 0x0", "this is neither a Linux bzImage nor an ELF file", "Give a vmlinuz, a vmlinux or an ELF PV image; a compressed ELF must be unpacked first");
        ElfFile elf = new(image);
        CheckParavirtual(image, elf.Notes);
        KernelImage kernel = new(format, version, elf, LoadSegments(image, elf));
        kernel.CheckAddresses(image);
        return kernel;
    }

    // Linux with CONFIG_XEN but without CONFIG_XEN_PV has all the notes except ENTRY; PVH kernels have PHYS32_ENTRY only.
    private static void CheckParavirtual(ImageBytes image, XenNotes notes)
    {
        bool paravirtual = notes.Entry is not null
            || (notes.Phys32Entry is null && notes.GuestOs != "linux" && (notes.GuestOs is not null || notes.Loader == "generic"));
        if (paravirtual)
            return;
        string found = notes.Count == 0 ? "it has no Xen ELF notes" : "its Xen ELF notes have no ENTRY (1)";
        throw image.Fail("ELF notes", $"this is not a Xen PV kernel: {found}", "A Linux kernel must be built with CONFIG_XEN_PV=y, as Debian's linux-image-cloud-amd64 is");
    }

    private static List<ImageSegment> LoadSegments(ImageBytes image, ElfFile elf)
    {
        ulong paddrOffset = elf.Notes.PaddrOffset ?? 0;
        List<ImageSegment> segments = [];
        foreach (ProgramHeader p in elf.Loads)
        {
            string where = $"program header {p.Index} (PT_LOAD)";
            if (p.FileSize > p.MemorySize)
                throw image.Fail(where, $"p_filesz 0x{p.FileSize:x} is larger than p_memsz 0x{p.MemorySize:x}", "The file is damaged: fetch or build it again");
            if (p.PhysicalAddress < paddrOffset)
                throw image.Fail(where, $"p_paddr 0x{p.PhysicalAddress:x} is below the PADDR_OFFSET note 0x{paddrOffset:x}", "The note or the linker script is wrong");
            ulong address = p.PhysicalAddress - paddrOffset;
            if (address > ImageLimits.MaxSpanBytes || p.MemorySize > ImageLimits.MaxSpanBytes - address)
                throw image.Fail(where, $"0x{p.MemorySize:x} bytes at pseudo-physical 0x{address:x} end beyond the limit of 0x{ImageLimits.MaxSpanBytes:x}", "A PV kernel is loaded near the start of its memory");
            segments.Add(new(address, image.Slice(p.Offset, p.FileSize, where), p.MemorySize));
        }
        if (segments.Count == 0)
            throw image.Fail("program headers", "none is of type PT_LOAD with memory", "Give a linked kernel");
        return segments;
    }

    private void CheckAddresses(ImageBytes image)
    {
        if (!Contains(Entry.Value, 1))
            throw image.Fail("entry point", $"{Entry} is outside the kernel ({Range()})", "The ENTRY and VIRT_BASE notes must fit the program headers");
        if (ReportPageAddress is ulong report && ((report & 0xfff) != 0 || report < LowestPhysical || report > HighestPhysical || HighestPhysical - report < 0x1000))
            throw image.Fail("ELF notes, Tessera report page", $"0x{report:x} is not a page inside the kernel", "It is the pseudo-physical address of a 4096-byte aligned page of the image");
        if (Notes.HypercallPage is not ulong page)
            return;
        if ((page & 0xfff) != 0 || !Contains(page, 0x1000))
            throw image.Fail("ELF notes, HYPERCALL_PAGE", $"0x{page:x16} is not a page inside the kernel ({Range()})", "It must be a 4096-byte aligned page of the image");
    }

    private bool Contains(ulong virtualAddress, ulong length)
    {
        ulong physical = unchecked(virtualAddress - VirtBase);
        return physical >= LowestPhysical && physical < HighestPhysical && length <= HighestPhysical - physical;
    }

    private string Range() => $"0x{unchecked(VirtBase + LowestPhysical):x16} to 0x{unchecked(VirtBase + HighestPhysical):x16}";
}
