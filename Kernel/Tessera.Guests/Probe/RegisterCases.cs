using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Probe;

/// <summary>CPUID by the forced-emulation prefix, and model-specific registers.</summary>
internal static class RegisterCases
{
    public static void Emit(ProbeCode p)
    {
        Leaves(p);
        Registers(p);
    }

    // Of a leaf that tells of the processor, the bits that a PV guest must or must not see; of Xen's own and of those that are empty, all.
    private static void Leaf(ProbeCode p, uint leaf, uint subleaf, uint a, uint b, uint c, uint d)
    {
        p.C.mov(eax, leaf);
        p.C.mov(ecx, subleaf);
        p.C.db(0x0f, 0x0b, (byte)'x', (byte)'e', (byte)'n', 0x0f, 0xa2);
        p.C.and(eax, a);
        p.C.and(ebx, b);
        p.C.and(ecx, c);
        p.C.and(edx, d);
        p.C.mov(__dword_ptr[(long)p.Page], eax);
        p.C.mov(__dword_ptr[(long)p.Page + 4], ebx);
        p.C.mov(__dword_ptr[(long)p.Page + 8], ecx);
        p.C.mov(__dword_ptr[(long)p.Page + 12], edx);
        p.Facts($"{leaf:x} {subleaf}", p.Page, p.Page + 4, p.Page + 8, p.Page + 12);
    }

    private static void Leaves(ProbeCode p)
    {
        const uint All = uint.MaxValue;
        p.Group("cpuid");
        // VME DE PSE MSR PAE MCE APIC SEP MTRR PGE MCA PSE36 ACPI HTT and what they hide in ECX.
        Leaf(p, 1, 0, 0, 0, 0x8127_81fc, 0x1043_77fe & ~(1u << 11));
        Leaf(p, 7, 0, 0, 0x0610_9480, 0xa101_00bc, 0);
        foreach (uint leaf in (uint[])[2, 3, 4, 5, 6, 8, 9, 0xa, 0xb, 0xe, 0xf, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1f])
            Leaf(p, leaf, 0, All, All, All, All);
        for (uint leaf = 0x4000_0000; leaf < 0x4000_0008; leaf++)
            Leaf(p, leaf, 0, All, All, All, All);
        Leaf(p, 0x4000_0003, 1, All, All, 0, 0);
        Leaf(p, 0x4000_0003, 2, 0, All, All, All);
        Leaf(p, 0x4000_0100, 0, All, All, All, All);
        Leaf(p, 0x8000_0001, 0, 0, 0, 0x1d88_3604 & ~(1u << 28), 0x0400_3088);
        Leaf(p, 0x8000_0007, 0, All, All, All, All & ~(1u << 8));
        Leaf(p, 0x8000_0008, 0, 0, All, 0xfff, All);
        foreach (uint leaf in (uint[])[0x8000_000a, 0x8000_001b, 0x8000_001c, 0x8000_001d, 0x8000_001f, 0x8000_0020, 0x8000_0022])
            Leaf(p, leaf, 0, All, All, All, All);
        Leaf(p, 0xd, 2, 0, 0, All, All);
    }

    private static void Registers(ProbeCode p)
    {
        p.Group("msr");
        (uint Register, ulong Mask)[] registers =
        [
            (0, All), (1, All), (0x10, 0), (0x17, All), (0x1b, All), (0x2a, All), (0x2c, All), (0x2d, All), (0x33, All), (0x34, All),
                (0x35, All), (0x3a, All), (0x3b, All), (0x48, All), (0x49, 0), (0x79, All),
            (0x8b, 0), (0xc1, All), (0xcd, All), (0xce, All), (0xe2, All), (0xe7, 0), (0xe8, 0), (0xfe, All), (0x10a, All), (0x10b, All),
                (0x122, All), (0x123, All), (0x140, All), (0x174, All), (0x175, All), (0x176, All),
            (0x179, All), (0x17a, All), (0x17b, All), (0x186, All), (0x198, All), (0x199, All), (0x19a, All), (0x19c, All), (0x1a0, All),
                (0x1a2, All), (0x1ad, All), (0x1b0, All), (0x1d9, All), (0x1db, All), (0x1fc, All),
            (0x200, All), (0x250, All), (0x277, All), (0x2ff, All), (0x300, All), (0x309, All), (0x345, All), (0x38d, All), (0x38f, All),
                (0x390, All), (0x3f1, All), (0x400, All), (0x401, All), (0x480, All),
            (0x570, All), (0x606, All), (0x610, All), (0x611, All), (0x639, All), (0x64e, All), (0x6e0, All), (0x770, All), (0x802, All),
                (0x830, All), (0x9ff, All), (0xda0, All), (0xd90, All), (0x4000_0000, All), (0x4000_0001, All), (0x4000_0020, All),
            (0x4000_0200, All), (0xc000_0080, All), (0xc000_0081, All), (0xc000_0082, All), (0xc000_0083, All), (0xc000_0084, All),
                (0xc000_0100, All), (0xc000_0101, All),
            (0xc000_0102, All), (0xc000_0103, 0), (0xc000_0104, All), (0xc001_0000, All), (0xc001_0004, All), (0xc001_0010, All),
                (0xc001_0015, All), (0xc001_001a, All), (0xc001_001d, All), (0xc001_001f, All),
            (0xc001_0020, All), (0xc001_0055, All), (0xc001_0058, All), (0xc001_0061, All), (0xc001_0062, All), (0xc001_0063, All),
                (0xc001_0064, All), (0xc001_0111, All), (0xc001_0114, All), (0xc001_0117, All),
            (0xc001_0140, All), (0xc001_0141, All), (0xc001_0200, All), (0xc001_0201, All), (0xc001_1004, All), (0xc001_1019, All),
                (0xc001_1020, All), (0xc001_1022, All), (0xc001_1023, All), (0xc001_1027, All),
            (0xc001_1029, All), (0xc001_102a, All), (0xdead_beef, All),
        ];
        foreach ((uint register, ulong mask) in registers)
        {
            p.Instruction($"read {register:x}", c =>
            {
                c.mov(ecx, register);
                c.rdmsr();
                c.shl(rdx, 32);
                c.or(rax, rdx);
            }, mask);
        }

        foreach ((uint register, _) in registers)
        {
            p.Instruction($"write {register:x} same", c =>
            {
                c.mov(ecx, register);
                c.rdmsr();
                c.wrmsr();
            });
            p.Instruction($"write {register:x} ones", c =>
            {
                c.mov(ecx, register);
                c.mov(eax, -1);
                c.mov(edx, -1);
                c.wrmsr();
            });
        }

        foreach (uint register in (uint[])[0xc000_0100, 0xc000_0101, 0xc000_0102])
        {
            foreach ((string name, ulong value) in ((string, ulong)[])[("noncanonical", ProbeCode.NotCanonical), ("0", 0)])
            {
                p.Instruction($"write {register:x} {name}", c =>
                {
                    p.G.Set(rax, value);
                    c.mov(rdx, rax);
                    c.shr(rdx, 32);
                    c.mov(ecx, register);
                    c.wrmsr();
                });
            }
        }
    }

    private const ulong All = ulong.MaxValue;
}
