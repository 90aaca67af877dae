using System.Buffers.Binary;
using Iced.Intel;
using Tessera.GuestLibrary;
using Tessera.Images;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Cpu.Software.Translation;

namespace Tessera.Linux.Tests;

/// <summary>
/// What a stock kernel's text can reach is run by the engine that translates: every instruction that is found from the entry, by calls, jumps and pointers in its data, has a
/// treatment other than "invalid opcode", but for those named here.
/// </summary>
internal sealed class KernelCodeTests
{
    /// <summary>What a guest never executes, by mnemonic, and why.</summary>
    private static readonly Dictionary<string, string> Exceptions = new(StringComparer.Ordinal)
    {
        ["Ud0"] = "BUG and WARN: an invalid opcode is what it is there for",
        ["Ud1"] = "BUG and WARN",
        ["Ud2"] = "BUG and WARN",
        ["Encls"] = "SGX: CPUID does not offer it",
        ["Stgi"] = "a host of SVM's guests, when it panics: CPUID does not offer it",
        ["Vmcall"] = "calls of KVM, Hyper-V and VMware, none of which is here",
        ["Vmmcall"] = "the same on AMD's processors",
        ["Tdcall"] = "guests of TDX",
        ["Vmgexit"] = "guests of SEV",
        ["Rmpadjust"] = "guests of SEV-SNP",
        ["Pvalidate"] = "guests of SEV-SNP",
        ["Wrussq"] = "shadow stacks: CPUID does not offer them",
        ["(bad)"] = "data that a pointer leads to and that stands where a function could",
    };

    [TestCase("debian")]
    [TestCase("debian-6.12")]
    public void Every_instruction_that_a_stock_kernel_reaches_has_a_treatment(string name)
    {
        GuestEntry guest = LinuxGuests.Require(name);
        KernelImage image = KernelImage.Load(File.ReadAllBytes(guest.KernelPath), guest.KernelPath);
        Dictionary<ulong, string> refused = [];
        int seen = Walk(image, refused);
        var unexpected = refused.GroupBy(pair => pair.Value).Where(group => !Exceptions.ContainsKey(group.Key))
            .Select(group => $"{group.Key} at {string.Join(", ", group.Take(3).Select(pair => $"0x{pair.Key:x}"))}{(group.Count() > 3 ? $" and {group.Count() - 3} more" : "")}");
        TestContext.Out.WriteLine($"{seen} instructions; " + string.Join(", ", refused.GroupBy(pair => pair.Value).Select(group => $"{group.Key} {group.Count()}")));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(seen, Is.GreaterThan(500_000));
            Assert.That(refused.Values.Count(what => what == "(bad)"), Is.LessThan(10));
            Assert.That(string.Join('\n', unexpected), Is.Empty);
        }
    }

    /// <summary>Follows code from the entry and from whatever looks like a pointer to a function; answers how many instructions there are.</summary>
    private static int Walk(KernelImage image, Dictionary<ulong, string> refused)
    {
        ImageSegment text = image.Segments[0];
        ulong start = image.VirtBase + text.PhysicalAddress;
        byte[] bytes = text.Data.ToArray();
        Reader reader = new(bytes);
        Decoder decoder = Decoder.Create(64, reader);
        Treatments treatments = new();
        bool[] seen = new bool[bytes.Length];
        Stack<int> todo = new();
        int count = 0;
        todo.Push((int)(image.Entry.Value - start));
        foreach (ImageSegment segment in image.Segments)
        {
            ReadOnlySpan<byte> data = segment.Data.Span;
            for (int place = 0; place + sizeof(ulong) <= data.Length; place += sizeof(ulong))
            {
                ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(data[place..]) - start;
                if (offset < (ulong)bytes.Length && IsFunction(bytes, (int)offset))
                    todo.Push((int)offset);
            }
        }

        while (todo.TryPop(out int at))
        {
            reader.Position = at;
            decoder.IP = start + (ulong)at;
            while ((uint)reader.Position < (uint)bytes.Length && !seen[reader.Position])
            {
                seen[reader.Position] = true;
                decoder.Decode(out Instruction instruction);
                count++;
                if (treatments.Of(instruction) == Treatment.Undefined)
                    refused[instruction.IP] = instruction.Code == Code.INVALID ? "(bad)" : $"{instruction.Mnemonic}";
                // The prefix of Xen's CPUID: three letters that are no code.
                if (instruction.Mnemonic == Mnemonic.Ud2 && bytes.AsSpan(reader.Position).StartsWith("xen"u8))
                {
                    reader.Position += 3;
                    decoder.IP += 3;
                }

                if (instruction.IsJccShortOrNear || instruction.IsJmpShortOrNear || instruction.IsCallNear || instruction.IsLoop || instruction.IsJcxShort)
                {
                    ulong target = instruction.NearBranchTarget - start;
                    if (target < (ulong)bytes.Length)
                        todo.Push((int)target);
                }

                if (instruction.Code == Code.INVALID || instruction.FlowControl is FlowControl.UnconditionalBranch or FlowControl.IndirectBranch or FlowControl.Return
                    || instruction.Mnemonic == Mnemonic.Int3)
                {
                    break;
                }
            }
        }

        return count;
    }

    /// <summary>Whether a function may begin there: at a landing pad, or behind the padding of the one before.</summary>
    private static bool IsFunction(ReadOnlySpan<byte> text, int offset) =>
        text[offset..].StartsWith((ReadOnlySpan<byte>)[0xf3, 0x0f, 0x1e, 0xfa]) || (offset >= 2 && (offset & 15) == 0 && text[offset - 1] is 0xcc or 0x90 && text[offset - 2] is 0xcc or 0x90);

    private sealed class Reader(byte[] bytes) : CodeReader
    {
        public int Position { get; set; }

        public override int ReadByte() => Position < bytes.Length ? bytes[Position++] : -1;
    }
}
