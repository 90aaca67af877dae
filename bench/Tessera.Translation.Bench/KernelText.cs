using System.Buffers.Binary;
using Iced.Intel;
using Tessera.Images;
using Tessera.Plugins.Cpu.Software.Translation;

namespace Tessera.Translation.Bench;

/// <summary>
/// The text of a kernel, and where in it blocks begin: at its entry, where a pointer in its data leads to what looks like a function, where jumps and calls go, and behind what ends a
/// block. As a guest that ran all of it would come to them.
/// </summary>
internal sealed unsafe class KernelText
{
    // SAFETY: the text is pinned for the process's life.
    public const int PageBytes = 4096;
    private const int MostInstructions = 64;
    private readonly byte[] _bytes;
    private readonly Treatments _treatments = new();

    public KernelText(KernelImage image)
    {
        ImageSegment text = image.Segments[0];
        ulong start = image.VirtBase + text.PhysicalAddress;
        int pages = (text.Data.Length + PageBytes - 1) / PageBytes;
        _bytes = GC.AllocateArray<byte>((pages + 2) * PageBytes, pinned: true);
        fixed (byte* first = _bytes)
            Start = (byte*)(((nint)first + PageBytes - 1) & ~(nint)(PageBytes - 1));
        text.Data.Span.CopyTo(new Span<byte>(Start, pages * PageBytes));
        Find(image, start, text.Data.Length);
    }

    /// <summary>Its first page, in this process.</summary>
    public byte* Start { get; }

    /// <summary>Where blocks begin, in the order in which they are come to.</summary>
    public List<int> Blocks { get; } = [];

    /// <summary>How many bytes of it are instructions.</summary>
    public long CodeBytes { get; private set; }

    private void Find(KernelImage image, ulong start, int length)
    {
        Stack<int> todo = new();
        bool[] begins = new bool[length], isCode = new bool[length];
        todo.Push((int)(image.Entry.Value - start));
        foreach (ImageSegment segment in image.Segments)
        {
            ReadOnlySpan<byte> data = segment.Data.Span;
            for (int place = 0; place + sizeof(ulong) <= data.Length; place += sizeof(ulong))
            {
                ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(data[place..]) - start;
                if (offset < (ulong)length && IsFunction(new ReadOnlySpan<byte>(Start, length), (int)offset))
                    todo.Push((int)offset);
            }
        }

        Reader reader = new(Start, length);
        Decoder decoder = Decoder.Create(64, reader);
        while (todo.TryPop(out int at))
        {
            if ((uint)at >= (uint)length || begins[at])
                continue;
            begins[at] = true;
            Blocks.Add(at);
            reader.Position = at;
            decoder.IP = (ulong)at;
            for (int count = 1; ; count++)
            {
                int from = reader.Position;
                decoder.Decode(out Instruction instruction);
                if (instruction.IsInvalid || reader.Position > length)
                    break;
                isCode.AsSpan(from, instruction.Length).Fill(true);
                if (instruction.Op0Kind == OpKind.NearBranch64 && instruction.NearBranchTarget < (ulong)length)
                    todo.Push((int)instruction.NearBranchTarget);
                bool leaves = instruction.FlowControl is FlowControl.UnconditionalBranch or FlowControl.IndirectBranch or FlowControl.Return or FlowControl.Exception or FlowControl.Interrupt;
                if (leaves || reader.Position == length)
                    break;
                bool ends = instruction.FlowControl is not (FlowControl.Next or FlowControl.ConditionalBranch) || _treatments.Of(instruction) is not (Treatment.Native or Treatment.Nothing or Treatment.Inlined)
                    || count == MostInstructions || (reader.Position & ~(PageBytes - 1)) != (from & ~(PageBytes - 1));
                if (!ends)
                    continue;
                todo.Push(reader.Position);
                break;
            }
        }

        CodeBytes = isCode.LongCount(static code => code);
    }

    /// <summary>Whether a function may begin there: at a landing pad, or behind the padding of the one before.</summary>
    private static bool IsFunction(ReadOnlySpan<byte> text, int offset) =>
        text[offset..].StartsWith((ReadOnlySpan<byte>)[0xf3, 0x0f, 0x1e, 0xfa]) || (offset >= 2 && (offset & 15) == 0 && text[offset - 1] is 0xcc or 0x90 && text[offset - 2] is 0xcc or 0x90);

    private sealed class Reader(byte* bytes, int length) : CodeReader
    {
        public int Position { get; set; }

        public override int ReadByte() => Position < length ? bytes[Position++] : -1;
    }
}
