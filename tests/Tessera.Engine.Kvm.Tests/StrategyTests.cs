using System.Runtime.CompilerServices;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Plugins.Cpu.Kvm.Paging;
using Tessera.Plugins.Cpu.Kvm.Probing;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Engine.Kvm.Tests;

[TestFixture]
internal sealed class StrategyTests
{
    private const ulong Frame = 0x1234_5000;
    private const ulong NoExecute = 1UL << 63;

    [TestCase(PagingChoice.Probe, "Flush Rewrite RewriteAndFlush", ExpectedResult = "Flush")]
    [TestCase(PagingChoice.Probe, "Rewrite RewriteAndFlush", ExpectedResult = "Rewrite")]
    [TestCase(PagingChoice.Probe, "RewriteAndFlush", ExpectedResult = "RewriteAndFlush")]
    [TestCase(PagingChoice.Probe, "", ExpectedResult = null)]
    [TestCase(PagingChoice.Flush, "Rewrite", ExpectedResult = "Flush")]
    [TestCase(PagingChoice.Rewrite, "Flush", ExpectedResult = "Rewrite")]
    [TestCase(PagingChoice.RewriteAndFlush, "", ExpectedResult = "RewriteAndFlush")]
    public string? The_strategy_is_the_cheapest_that_works_unless_the_options_say_otherwise(PagingChoice choice, string works) =>
        PagingProbe.Choose(choice, strategy => works.Split(' ').Contains(strategy.ToString()))?.ToString();

    [Test]
    public void Nothing_dearer_is_tried_once_a_strategy_works()
    {
        List<PagingStrategy> tried = [];
        PagingProbe.Choose(PagingChoice.Probe, strategy =>
        {
            tried.Add(strategy);
            return strategy == PagingStrategy.Rewrite;
        });
        Assert.That(tried, Is.EqualTo((PagingStrategy[])[PagingStrategy.Flush, PagingStrategy.Rewrite]));
    }

    [Test]
    public void Rewriting_with_a_flush_flushes_every_cpu_after_the_one_rewrite()
    {
        Recorder recorder = new();
        RewriteNotifier notifier = new(recorder, flushAfter: true);
        long first = 0;
        long second = 0;
        notifier.EntryChanged(0x1000, Frame | 7, 0);
        Assert.That(notifier.BeforeEntry(ref first), Is.True);
        Assert.That(notifier.BeforeEntry(ref first), Is.False);
        Assert.That(notifier.BeforeEntry(ref second), Is.True);
        Assert.That(recorder.Plans, Has.Count.EqualTo(1));
    }

    [TestCase(0UL, Frame | 7, false, false, TestName = "not present to present")]
    [TestCase(Frame | 5, Frame | 7, false, true, TestName = "read-only to writable")]
    [TestCase(Frame | 7, Frame | 5, true, true, TestName = "writable to read-only")]
    [TestCase(Frame | 7, Frame | 3, true, true, TestName = "user to supervisor")]
    [TestCase(Frame | 3, Frame | 7, false, true, TestName = "supervisor to user")]
    [TestCase(Frame | 7, 0UL, true, true, TestName = "present to nothing")]
    [TestCase(Frame | 7, Frame | 6, true, true, TestName = "present to not present")]
    [TestCase(Frame | 7, Frame + 0x1000 | 7, true, true, TestName = "another frame")]
    [TestCase(Frame | 5, Frame + 0x1000 | 7, true, true, TestName = "another frame with more rights")]
    [TestCase(Frame | 7, Frame | 0x67, false, false, TestName = "accessed and dirty set")]
    [TestCase(Frame | 0x67, Frame | 7, false, false, TestName = "accessed and dirty cleared")]
    [TestCase(Frame | 7, Frame | 0xe07, false, false, TestName = "available bits")]
    [TestCase(Frame | 7, Frame | 7 | NoExecute, true, true, TestName = "made not executable")]
    [TestCase(Frame | 7 | NoExecute, Frame | 7, false, true, TestName = "made executable")]
    [TestCase(Frame | 7, Frame | 0x1f, true, true, TestName = "another memory type")]
    public void Changes_are_told_apart(ulong old, ulong now, bool downgrade, bool flush)
    {
        Assert.That(EntryChange.IsDowngrade(old, now), Is.EqualTo(downgrade), "downgrade");
        Assert.That(EntryChange.NeedsFlush(old, now), Is.EqualTo(flush), "flush");
    }

    [Test]
    public void A_downgrade_always_needs_a_flush_and_nothing_changed_never_does() =>
        Prop.ForAll<ulong, ulong>((old, now) =>
            (!EntryChange.IsDowngrade(old, now) || EntryChange.NeedsFlush(old, now)) && !EntryChange.NeedsFlush(old, old) && !EntryChange.IsDowngrade(old, old))
            .QuickCheckThrowOnFailure();

    [Test]
    public void The_flush_strategy_flushes_each_cpu_once_for_any_number_of_changes()
    {
        FlushNotifier notifier = new();
        long first = 0;
        long second = 0;
        Assert.That(notifier.BeforeEntry(ref first), Is.False, "nothing changed");
        notifier.EntryChanged(0x1000, 0, Frame | 7);
        Assert.That(notifier.BeforeEntry(ref first), Is.False, "nothing was there before");
        notifier.EntryChanged(0x1000, Frame | 7, 0);
        notifier.EntryChanged(0x1008, Frame | 7, Frame | 5);
        Assert.That(notifier.BeforeEntry(ref first), Is.True);
        Assert.That(notifier.BeforeEntry(ref first), Is.False);
        Assert.That(notifier.BeforeEntry(ref second), Is.True, "the other CPU has its own TLB");
    }

    [Test]
    public void The_rewrite_strategy_queues_downgrades_only_and_tells_once()
    {
        Recorder recorder = new();
        RewriteNotifier notifier = new(recorder, flushAfter: false);
        long seen = 0;
        notifier.EntryChanged(0x1000, 0, Frame | 7);
        notifier.EntryChanged(0x1008, Frame | 5, Frame | 7);
        Assert.That(notifier.BeforeEntry(ref seen), Is.False);
        Assert.That(recorder.Plans, Is.Empty);
        notifier.EntryChanged(0x2008, Frame | 7, 0);
        notifier.EntryChanged(0x2008, Frame | 7, 0);
        notifier.EntryChanged(0x1000, Frame | 7, 0);
        notifier.BeforeEntry(ref seen);
        notifier.BeforeEntry(ref seen);
        Assert.That(recorder.Plans, Has.Count.EqualTo(1));
        Assert.That(recorder.Plans[0], Is.EqualTo((ulong[])[0x1000, 0x2008]));
    }

    [Test]
    public void What_the_stub_cannot_reach_or_the_queue_not_hold_drops_everything()
    {
        Recorder recorder = new() { Limit = 0x10_0000 };
        RewriteNotifier notifier = new(recorder, flushAfter: false);
        long seen = 0;
        notifier.EntryChanged(0x20_0000, Frame | 7, 0);
        notifier.BeforeEntry(ref seen);
        Assert.That((recorder.Drops, recorder.Plans.Count), Is.EqualTo((1, 0)));
        for (int index = 0; index <= RewriteNotifier.Capacity; index++)
            notifier.EntryChanged((ulong)index * 8, Frame | 7, 0);
        notifier.BeforeEntry(ref seen);
        Assert.That((recorder.Drops, recorder.Plans.Count), Is.EqualTo((2, 0)));
        notifier.EntryChanged(8, Frame | 7, 0);
        notifier.BeforeEntry(ref seen);
        Assert.That((recorder.Drops, recorder.Plans.Count), Is.EqualTo((2, 1)));
    }

    [Test]
    public void A_plan_covers_every_entry_and_drops_tables_from_three_on() =>
        Prop.ForAll<uint[]>(raw =>
        {
            ulong[] entries = [.. raw.Select(value => (ulong)(value % 40) * 0x400 & ~7UL)];
            ulong[] plan = [.. entries];
            int count = RewritePlan.Compact(plan);
            ReadOnlySpan<ulong> used = plan.AsSpan(0, count);
            foreach (ulong entry in entries)
            {
                int inTable = entries.Where(other => other >> 12 == entry >> 12).Distinct().Count();
                bool dropped = false;
                foreach (ulong planned in used)
                    dropped |= (planned & RewritePlan.DropTable) != 0 && planned >> 12 == entry >> 12;
                if (dropped != (inTable >= RewritePlan.EntriesToDrop) || (!dropped && !used.Contains(entry)))
                    return false;
            }

            return count == plan.AsSpan(0, count).ToArray().Distinct().Count();
        }).QuickCheckThrowOnFailure();

    [Test]
    public unsafe void Pages_of_areas_are_apart_and_empty_whoever_had_them()
    {
        const int Bytes = 15 * 4096;
        AreaPages pages = new();
        nint[] taken = [.. Enumerable.Range(0, 600).Select(_ => pages.Take(15))];
        Assert.That(taken.Order().Zip(taken.Order().Skip(1)).All(pair => pair.Second - pair.First >= Bytes), Is.True);
        // SAFETY: a piece just taken, and one that is taken again.
        new Span<byte>((void*)taken[7], Bytes).Fill(0xee);
        pages.Return(taken[7], 15);
        Assert.That(pages.Take(14), Is.Not.EqualTo(taken[7]), "one of another size");
        Assert.That(pages.Take(15), Is.EqualTo(taken[7]));
        Assert.That(new Span<byte>((void*)taken[7], Bytes).ContainsAnyExcept((byte)0), Is.False);
    }

    [Test]
    public void The_stub_is_one_locked_or_an_entry_and_one_exit()
    {
        using EngineArea area = new(new AreaPages(), 264, 1, [new MemoryRegion(new Mfn(0x400), 16, 4096, false)]);
        byte[] code = new byte[64];
        EntryRewriter.Generate(code, [0x401008, 0x402010 | RewritePlan.DropTable], area);
        Iced.Intel.Decoder decoder = Iced.Intel.Decoder.Create(64, code);
        List<string> text = [];
        Iced.Intel.NasmFormatter formatter = new();
        for (int index = 0; index < 5; index++)
        {
            Iced.Intel.StringOutput output = new();
            formatter.Format(decoder.Decode(), output);
            text.Add(output.ToString());
        }

        Assert.That(text[0], Is.EqualTo("mov rdi,0FFFF840040401008h"));
        Assert.That(text[1], Does.StartWith("lock or qword [rdi]"));
        Assert.That(text[2], Is.EqualTo("mov rdi,0FFFF840040402010h"));
        Assert.That(text[3], Does.StartWith("lock or word [rdi]"));
        Assert.That(text[4], Is.EqualTo("out 7Eh,al"));
    }

    [Test]
    public void Structures_have_the_kernels_sizes()
    {
        Assert.That(Unsafe.SizeOf<KvmRegs>(), Is.EqualTo(0x90));
        Assert.That(Unsafe.SizeOf<KvmSegment>(), Is.EqualTo(24));
        Assert.That(Unsafe.SizeOf<KvmSregs>(), Is.EqualTo(0x138));
        Assert.That(Unsafe.SizeOf<KvmVcpuEvents>(), Is.EqualTo(64));
        Assert.That(Unsafe.SizeOf<KvmDebugRegs>(), Is.EqualTo(128));
        Assert.That(Unsafe.SizeOf<KvmCpuidEntry>(), Is.EqualTo(40));
        Assert.That(Unsafe.SizeOf<KvmCpuid>(), Is.EqualTo(8 + (40 * KvmCpuid.Capacity)));
        Assert.That(Unsafe.SizeOf<KvmXcrs>(), Is.EqualTo(392));
        Assert.That(Unsafe.SizeOf<KvmXsave>(), Is.EqualTo(4096));
        Assert.That(Unsafe.SizeOf<KvmMemoryRegion>(), Is.EqualTo(32));
        Assert.That(Unsafe.SizeOf<KvmSignalMask>(), Is.EqualTo(12));
        GuestCpuState state = default;
        Assert.That(Unsafe.ByteOffset(ref state.Rax, ref state.Rflags), Is.EqualTo((nint)136));
        Assert.That(Unsafe.ByteOffset(ref state.Rax, ref state.Rsp), Is.EqualTo((nint)48));
    }

    private sealed class Recorder : IEntryRewriter
    {
        public ulong Limit { get; init; } = ulong.MaxValue;

        public List<ulong[]> Plans { get; } = [];

        public int Drops { get; private set; }

        public bool CanReach(ulong entryAddress) => entryAddress < Limit;

        public void Rewrite(ReadOnlySpan<ulong> plan) => Plans.Add(plan.ToArray());

        public void DropEverything() => Drops++;
    }
}
