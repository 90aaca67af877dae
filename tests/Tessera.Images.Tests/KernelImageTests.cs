using Tessera.Images.Tests.Support;

namespace Tessera.Images.Tests;

[TestFixture]
internal sealed class KernelImageTests
{
    private static readonly string[] Formats = ["lz4", "zstd", "xz", "gzip", "bzip2", "lzma"];

    [Test]
    public void A_plain_elf_gives_its_segments_entry_and_bases()
    {
        byte[] file = ElfBuilder.Linux().Load(0x200_0000, [1, 2, 3], 0x1000).Build();

        KernelImage kernel = KernelImage.Load(file, "vmlinux");

        Assert.Multiple(() =>
        {
            Assert.That(kernel.Format, Is.EqualTo("ELF"));
            Assert.That(kernel.Segments, Has.Count.EqualTo(2));
            Assert.That(kernel.Segments[0].PhysicalAddress, Is.EqualTo(ElfBuilder.LoadAddress));
            Assert.That(kernel.Segments[0].MemorySize, Is.EqualTo(0x5000));
            Assert.That(kernel.Segments[1].Data.ToArray(), Is.EqualTo(new byte[] { 1, 2, 3 }));
            Assert.That(kernel.Entry.Value, Is.EqualTo(ElfBuilder.VirtBase + ElfBuilder.LoadAddress + 0x10));
            Assert.That(kernel.VirtBase, Is.EqualTo(ElfBuilder.VirtBase));
            Assert.That(kernel.LowestPhysical, Is.EqualTo(ElfBuilder.LoadAddress));
            Assert.That(kernel.HighestPhysical, Is.EqualTo(0x200_1000));
        });
    }

    [Test]
    public void Every_note_of_a_linux_kernel_is_read()
    {
        XenNotes notes = KernelImage.Load(ElfBuilder.Linux().Note(2, ElfBuilder.VirtBase + ElfBuilder.LoadAddress + 0x1000).Note(0, "a=b").Build(), "vmlinux").Notes;

        Assert.Multiple(() =>
        {
            Assert.That(notes.Count, Is.EqualTo(17));
            Assert.That(notes.GuestOs, Is.EqualTo("linux"));
            Assert.That(notes.GuestVersion, Is.EqualTo("2.6"));
            Assert.That(notes.XenVersion, Is.EqualTo("xen-3.0"));
            Assert.That(notes.Loader, Is.EqualTo("generic"));
            Assert.That(notes.PaeMode, Is.EqualTo("yes"));
            Assert.That(notes.Features, Is.EqualTo("!writable_page_tables|pae_pgdir_above_4gb"));
            Assert.That(notes.SupportedFeatures, Is.EqualTo(0x801));
            Assert.That(notes.InitP2M, Is.EqualTo(0x80_0000_0000));
            Assert.That(notes.ModStartPfn, Is.EqualTo(1));
            Assert.That(notes.SuspendCancel, Is.EqualTo(1));
            Assert.That(notes.HvStartLow, Is.EqualTo(0xffff_8000_0000_0000));
            Assert.That(notes.PaddrOffset, Is.Zero);
            Assert.That(notes.L1MfnValid, Is.EqualTo(new[] { new L1MfnValid(1, 1) }));
            Assert.That(notes.HypercallPage, Is.EqualTo(ElfBuilder.VirtBase + ElfBuilder.LoadAddress + 0x1000));
            Assert.That(notes.Info, Is.EqualTo(new[] { "a=b" }));
            Assert.That(notes.Phys32Entry, Is.Null);
        });
    }

    [TestCaseSource(nameof(Formats))]
    public void A_bzimage_unpacks_to_the_same_kernel_as_its_elf(string format)
    {
        byte[] elf = ElfBuilder.Linux().Build();

        KernelImage kernel = KernelImage.Load(Packer.BzImage(Packer.Payload(format, elf)), "vmlinuz");

        KernelImage plain = KernelImage.Load(elf, "vmlinux");
        Assert.Multiple(() =>
        {
            Assert.That(kernel.Format, Is.EqualTo($"bzImage/{format}"));
            Assert.That(kernel.Entry, Is.EqualTo(plain.Entry));
            Assert.That(kernel.Notes.Features, Is.EqualTo(plain.Notes.Features));
            Assert.That(kernel.Segments[0].Data.Span.SequenceEqual(plain.Segments[0].Data.Span), Is.True);
        });
    }

    [TestCaseSource(nameof(Formats))]
    public void A_kernel_larger_than_one_lz4_block_unpacks_whole(string format)
    {
        byte[] large = new byte[19 << 20];
        Random random = new(7);
        for (int i = 0; i < large.Length; i += 4096)
            random.NextBytes(large.AsSpan(i, 32));
        byte[] elf = ElfBuilder.Linux().Load(0x300_0000, large, (ulong)large.Length).Build();

        KernelImage kernel = KernelImage.Load(Packer.BzImage(Packer.Payload(format, elf), setupSectors: 0), "vmlinuz");

        Assert.That(kernel.Segments[1].Data.Span.SequenceEqual(large), Is.True);
    }

    [TestCase("6.1.0-56-cloud-amd64 (who@where) #1 SMP", "6.1.0-56-cloud-amd64 (who@where) #1 SMP")]
    [TestCase("", null)]
    [TestCase("bad\u0001text", null)]
    public void A_bzimage_says_its_release(string release, string? expected)
        => Assert.That(KernelImage.Load(Packer.BzImage(Packer.Payload("gzip", ElfBuilder.Linux().Build()), release: release), "vmlinuz").Version, Is.EqualTo(expected));

    [Test]
    public void Without_a_note_the_elf_header_gives_the_entry()
    {
        ElfBuilder elf = new ElfBuilder { Entry = 0x10_0020 }.Load(0x10_0000, new byte[64], 0x1000).Note(8, "generic\0").Note(6, "mini\0");

        KernelImage kernel = KernelImage.Load(elf.Build(), "unikernel");

        Assert.That((kernel.Entry.Value, kernel.VirtBase), Is.EqualTo((0x10_0020UL, 0UL)));
    }

    [Test]
    public void Notes_are_found_in_a_section_when_no_segment_has_them()
    {
        ElfBuilder elf = ElfBuilder.Linux();
        elf.NotesInSection = true;

        Assert.That(KernelImage.Load(elf.Build(), "vmlinux").Notes.Count, Is.EqualTo(15));
    }

    [Test]
    public void Notes_of_other_names_and_numbers_are_passed_over()
    {
        ElfBuilder elf = ElfBuilder.Linux().Note(3, [1, 2, 3], "GNU\0").Note(1, [9], "Linux\0").Note(4711, [1]);

        XenNotes notes = KernelImage.Load(elf.Build(), "vmlinux").Notes;

        Assert.That((notes.Count, notes.VirtBase), Is.EqualTo((16, (ulong?)ElfBuilder.VirtBase)));
    }

    [Test]
    public void A_numeric_note_may_have_four_bytes()
    {
        byte[] elf = new ElfBuilder().Load(0x10_0000, new byte[64], 0x1000).Note(1, 0x10_0000U).Note(3, 0U).Build();

        Assert.That(KernelImage.Load(elf, "small").Entry.Value, Is.EqualTo(0x10_0000));
    }

    [Test]
    public void The_paddr_offset_note_is_taken_off_the_physical_addresses()
    {
        byte[] elf = new ElfBuilder().Load(0xc010_0000, new byte[64], 0x1000).Note(4, 0xc000_0000UL).Note(3, 0xc000_0000UL).Note(1, 0xc010_0000UL).Build();

        Assert.That(KernelImage.Load(elf, "old").Segments[0].PhysicalAddress, Is.EqualTo(0x10_0000));
    }
}
