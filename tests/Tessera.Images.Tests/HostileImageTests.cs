using System.Buffers.Binary;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Images.Tests.Support;

namespace Tessera.Images.Tests;

[TestFixture]
internal sealed class HostileImageTests
{
    private static ImageException Refused(byte[] file) => Assert.Throws<ImageException>(() => KernelImage.Load(file, "k.img"))!;

    private static byte[] Patched(byte[] file, int offset, ulong value, int bytes)
    {
        byte[] copy = [.. file];
        Span<byte> eight = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(eight, value);
        eight[..bytes].CopyTo(copy.AsSpan(offset));
        return copy;
    }

    [TestCase(4, 1UL, 1, "32-bit")]
    [TestCase(5, 2UL, 1, "little-endian")]
    [TestCase(16, 1UL, 2, "e_type")]
    [TestCase(18, 183UL, 2, "x86-64")]
    [TestCase(32, 0xffff_ffff_ffff_fff0UL, 8, "program headers")]
    [TestCase(54, 8UL, 2, "e_phentsize")]
    [TestCase(56, 0UL, 2, "e_phnum")]
    [TestCase(56, 0xffffUL, 2, "e_phnum")]
    [TestCase(64 + 8, 0xffff_ffff_ffff_ffffUL, 8, "program header 0 (PT_LOAD)")]
    [TestCase(64 + 24, 0xffff_ffff_ffff_ffffUL, 8, "program header 0 (PT_LOAD)")]
    [TestCase(64 + 32, 0xffff_ffff_ffff_ffffUL, 8, "p_filesz")]
    [TestCase(64 + 40, 0x7fff_ffff_ffff_ffffUL, 8, "program header 0 (PT_LOAD)")]
    [TestCase(64 + 40, 1UL, 8, "p_memsz")]
    [TestCase(64, 6UL, 4, "PT_LOAD")]
    [TestCase(64 + 56 + 32, 0x4000_0000UL, 8, "program header 1 (PT_NOTE)")]
    public void A_broken_elf_field_is_named(int offset, ulong value, int bytes, string expected)
    {
        ImageException error = Refused(Patched(ElfBuilder.Linux().Build(), offset, value, bytes));

        Assert.That(error.Message, Does.StartWith("k.img: ").And.Contain(expected));
    }

    [Test]
    public void A_note_that_runs_past_its_area_is_refused_with_its_offset()
    {
        byte[] file = ElfBuilder.Linux().Build();
        int notes = 64 + 2 * 56 + 0x2000;

        Assert.That(Refused(Patched(file, notes + 4, 0xffff_ffff, 4)).Message, Does.Contain($"offset 0x{notes:x}"));
    }

    [Test]
    public void A_numeric_note_of_a_wrong_size_is_refused_by_name()
        => Assert.That(Refused(ElfBuilder.Linux().Note(15, [1, 2]).Build()).Message, Does.Contain("INIT_P2M has 2 bytes").And.Contain("4 or 8"));

    [Test]
    public void A_kernel_without_xen_notes_is_told_what_it_needs()
    {
        byte[] plain = new ElfBuilder().Load(0x10_0000, new byte[64], 0x1000).Build();

        Assert.That(Refused(plain).Message, Does.Contain("not a Xen PV kernel").And.Contain("CONFIG_XEN_PV=y"));
    }

    [Test]
    public void A_linux_kernel_with_xen_but_without_pv_is_not_a_pv_kernel()
    {
        byte[] hvm = new ElfBuilder().Load(0x10_0000, new byte[64], 0x1000).Note(6, "linux\0").Note(8, "generic\0").Note(18, 0x10_0000UL).Build();

        Assert.That(Refused(hvm).Message, Does.Contain("no ENTRY"));
    }

    [Test]
    public void An_entry_outside_the_kernel_is_refused()
        => Assert.That(Refused(ElfBuilder.Linux().Note(1, 0x1234UL).Build()).Where, Is.EqualTo("entry point"));

    [TestCase(0x123UL)]
    [TestCase(0x5000UL)]
    public void A_hypercall_page_must_be_a_page_of_the_kernel(ulong offset)
        => Assert.That(Refused(ElfBuilder.Linux().Note(2, ElfBuilder.VirtBase + ElfBuilder.LoadAddress + offset).Build()).Where, Does.Contain("HYPERCALL_PAGE"));

    [TestCase(new byte[0])]
    [TestCase(new byte[] { 0x7f, (byte)'E', (byte)'L', (byte)'F' })]
    [TestCase(new byte[] { 1, 2, 3, 4, 5, 6 })]
    public void A_file_that_is_no_kernel_is_refused(byte[] file) => Assert.That(Refused(file).Cure, Is.Not.Empty);

    [Test]
    public void An_old_boot_protocol_is_refused()
        => Assert.That(Refused(Packer.BzImage(Packer.Payload("gzip", ElfBuilder.Linux().Build()), version: 0x207)).Message, Does.Contain("2.07"));

    [TestCase(0x248)]
    [TestCase(0x24c)]
    public void A_payload_outside_the_file_is_refused(int field)
        => Assert.That(Refused(Patched(Packer.BzImage(Packer.Payload("gzip", ElfBuilder.Linux().Build())), field, 0xffff_fff0, 4)).Message, Does.Contain("payload_offset"));

    [TestCase(new byte[] { 0x89, 0x4c, 0x5a, 0x4f }, "LZO")]
    [TestCase(new byte[] { 0x04, 0x22, 0x4d, 0x18 }, "newer frame")]
    [TestCase(new byte[] { 0xde, 0xad, 0xbe, 0xef }, "DEADBEEF")]
    public void A_compression_that_is_not_supported_is_named_beside_those_that_are(byte[] magic, string expected)
        => Assert.That(Refused(Packer.BzImage([.. magic, .. new byte[100]])).Message, Does.Contain(expected).And.Contain("LZ4 (legacy frame), zstd, XZ, gzip, LZMA and bzip2"));

    [TestCase("lz4")]
    [TestCase("zstd")]
    [TestCase("xz")]
    [TestCase("gzip")]
    [TestCase("bzip2")]
    [TestCase("lzma")]
    public void A_payload_that_lies_about_its_size_is_refused(string format)
    {
        byte[] elf = ElfBuilder.Linux().Build();
        byte[] payload = Packer.Payload(format, elf);
        foreach (uint size in (uint[])[(uint)elf.Length - 1, (uint)elf.Length + 1, 200, 1 << 24, 0x4000_0001, uint.MaxValue, 0])
            Refused(Packer.BzImage(Patched(payload, payload.Length - 4, size, 4)));
    }

    [Test]
    public void A_dictionary_beyond_reason_is_refused_before_there_is_memory_for_it()
        => Assert.That(Refused(Packer.BzImage(Patched(Packer.Payload("lzma", ElfBuilder.Linux().Build()), 3, 0x7fff, 2))).Message, Does.Contain("dictionary").And.Contain("512 MiB"));

    [Test]
    public void Data_that_its_own_checksum_contradicts_is_refused()
    {
        byte[] payload = Packer.Payload("xz", ElfBuilder.Linux().Build());
        // The check of the only block lies before the index and the footer: 12 bytes of footer, the four of the size, and an index of at least eight.
        Assert.That(Refused(Packer.BzImage(Patched(payload, payload.Length - 4 - 12 - 8 - 4, 0xdead, 2))).Message, Does.Contain("xz cannot unpack it"));
    }

    [Test]
    public void An_unpacked_kernel_is_named_as_such_in_errors()
        => Assert.That(Refused(Packer.BzImage(Packer.Payload("gzip", new byte[4096]))).Message, Does.StartWith("k.img (unpacked): "));

    [Test]
    public void Any_damage_gives_a_kernel_or_an_image_error_and_nothing_else()
    {
        byte[][] files =
        [
            ElfBuilder.Linux().Build(),
            .. ((string[])["lz4", "zstd", "xz", "gzip", "bzip2", "lzma"]).Select(f => Packer.BzImage(Packer.Payload(f, ElfBuilder.Linux().Build()))),
        ];
        Property property = Prop.ForAll<int, (int At, byte Value)[], ushort>((which, damage, cut) =>
        {
            byte[] file = [.. files[(which & 0x7fff_ffff) % files.Length]];
            foreach ((int at, byte value) in damage)
                file[(at & 0x7fff_ffff) % Math.Min(file.Length, 0x400)] = value;
            file = cut % 4 == 0 ? file[..(cut % file.Length)] : file;
            try
            {
                KernelImage kernel = KernelImage.Load(file, "k.img");
                return kernel.Segments.All(s => (ulong)s.Data.Length <= s.MemorySize);
            }
            catch (ImageException)
            {
                return true;
            }
        });
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(3000), property);
    }

    [Test]
    public void Random_bytes_behind_each_magic_never_get_past_the_checks()
    {
        Random random = new(20260728);
        byte[][] magics = [[0x02, 0x21, 0x4c, 0x18], [0x28, 0xb5, 0x2f, 0xfd], [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], [0x1f, 0x8b, 8], [0x5d, 0, 0, 0x80, 0], [.. "BZh9"u8]];
        for (int i = 0; i < 2000; i++)
        {
            byte[] payload = new byte[16 + random.Next(300)];
            random.NextBytes(payload);
            magics[i % magics.Length].CopyTo(payload, 0);
            BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(payload.Length - 4), (uint)random.Next(200, 100_000));
            Refused(Packer.BzImage(payload));
        }
    }
}
