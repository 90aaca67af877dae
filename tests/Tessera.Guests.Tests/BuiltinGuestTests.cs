using System.Reflection;
using System.Text.Json;
using Iced.Intel;
using Tessera.Hosting;
using Tessera.Images;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Guests.Tests;

public sealed class BuiltinGuestTests
{
    private const ulong VirtBase = 0xFFFF_FFFF_8000_0000;

    private static IEnumerable<TestCaseData> Guests()
    {
        foreach (string name in BuiltinGuests.Names)
            yield return new TestCaseData(name, null).SetArgDisplayNames(name);
        yield return Case("beat", new BeatOptions { Period = Nanoseconds.FromSeconds(10) });
        yield return Case("burst", new BurstOptions { Period = Nanoseconds.FromMilliseconds(1), Duty = 99 });
        yield return Case("paging", new PagingOptions { Pages = 64, Rounds = 3 });
        yield return Case("hello", new HelloOptions { Message = "" });
        yield return Case("hello", new HelloOptions { Message = new string('x', 200) });
        foreach (FuzzMode mode in Enum.GetValues<FuzzMode>())
        {
            for (long seed = 0; seed < 9; seed += mode is FuzzMode.BadTrapTable or FuzzMode.BadStack or FuzzMode.BadIret ? 1 : 8)
                yield return Case("fuzz", new FuzzOptions { Mode = mode, Seed = seed, Count = seed * 1_000_000_000_000 });
        }

        static TestCaseData Case(string name, object options) => new TestCaseData(name, options).SetArgDisplayNames(name, options.ToString()!);
    }

    [TestCaseSource(nameof(Guests))]
    public void A_guest_is_a_kernel_that_the_image_reader_takes(string name, object? options)
    {
        KernelImage kernel = KernelImage.Load(BuiltinGuests.Build(name, options), name);
        Assert.That((kernel.Format, kernel.VirtBase, kernel.PaddrOffset, kernel.LowestPhysical), Is.EqualTo(("ELF", VirtBase, 0UL, 0UL)));
        Assert.That((kernel.Notes.GuestOs, kernel.Notes.GuestVersion, kernel.Notes.Loader, kernel.Notes.XenVersion), Is.EqualTo(("tessera-builtin", name, "generic", "xen-3.0")));
        Assert.That(kernel.Notes.HypercallPage, Is.EqualTo(VirtBase));
        Assert.That(kernel.HighestPhysical, Is.LessThanOrEqualTo(512UL << 10), "a guest must leave room for its tables in 1 MiB");
    }

    [TestCaseSource(nameof(Guests))]
    public void The_report_page_is_where_the_note_says_and_already_names_its_guest(string name, object? options)
    {
        KernelImage kernel = KernelImage.Load(BuiltinGuests.Build(name, options), name);
        ImageSegment segment = kernel.Segments.Single(s => s.PhysicalAddress <= kernel.ReportPageAddress && kernel.ReportPageAddress < s.End);
        ReadOnlySpan<byte> page = segment.Data.Span[(int)(kernel.ReportPageAddress!.Value - segment.PhysicalAddress)..][..ReportLayout.Size];
        Assert.That(ReportPage.TryRead(page, out GuestReport? report), Is.True);
        Assert.That((report!.Kind, report.Progress, report.Units), Is.EqualTo((BuiltinGuests.Find(name)!.Kind, GuestProgress.Starting, 0UL)));
    }

    // The probe's lines stand among its code, and some of its instructions are none on purpose: it is tested by what it writes (XenAnswers).
    private static IEnumerable<TestCaseData> AllInstructions() => Guests().Where(guest => guest.Arguments[0] is not "probe");

    [TestCaseSource(nameof(AllInstructions))]
    public void The_code_is_all_instructions_and_every_branch_lands_on_one(string name, object? options)
    {
        KernelImage kernel = KernelImage.Load(BuiltinGuests.Build(name, options), name);
        ImageSegment segment = kernel.Segments.Single(s => VirtBase + s.PhysicalAddress == kernel.Entry.Value);
        Decoder decoder = Decoder.Create(64, segment.Data.ToArray(), kernel.Entry.Value);
        List<Instruction> instructions = [];
        while (decoder.IP < kernel.Entry.Value + (ulong)segment.Data.Length)
            instructions.Add(decoder.Decode());
        HashSet<ulong> starts = [.. instructions.Select(instruction => instruction.IP)];
        // The line of `hello` stands behind its code, and is the only thing whose address it takes.
        ulong end = name == "hello" ? instructions.First(instruction => instruction.Mnemonic == Mnemonic.Lea).MemoryDisplacement64 : ulong.MaxValue;
        foreach (Instruction instruction in instructions.TakeWhile(instruction => instruction.IP < end))
        {
            Assert.That(instruction.IsInvalid, Is.False, $"at 0x{instruction.IP:x}");
            if (instruction.FlowControl is not (FlowControl.Call or FlowControl.UnconditionalBranch or FlowControl.ConditionalBranch) || instruction.NearBranchTarget == 0)
                continue;
            ulong target = instruction.NearBranchTarget;
            bool hypercall = target < VirtBase + 4096 && target >= VirtBase && target % 32 == 0;
            Assert.That(hypercall || starts.Contains(target), Is.True, $"{instruction} at 0x{instruction.IP:x}");
        }
    }

    [Test]
    public void Every_options_record_binds_and_its_defaults_are_within_its_bounds()
    {
        foreach (string name in BuiltinGuests.Names)
        {
            Type? type = BuiltinGuests.Find(name)!.OptionsType;
            if (type is null)
                continue;
            List<ConfigurationProblem> problems = [];
            object? bound = OptionBinder.Bind(type, default, "options", problems);
            Assert.That(problems, Is.Empty, name);
            Assert.That(bound, Is.EqualTo(Activator.CreateInstance(type)), name);
            foreach (PropertyInfo property in type.GetProperties().Where(property => property.CanWrite && property.Name != "EqualityContract"))
                Assert.That(property.GetCustomAttribute<OptionAttribute>(), Is.Not.Null, $"{name}.{property.Name}");
        }
    }

    [Test]
    public void Options_are_read_as_a_configuration_writes_them()
    {
        List<ConfigurationProblem> problems = [];
        using JsonDocument json = JsonDocument.Parse("""{ "mode": "map-foreign", "seed": 7 }""");
        Assert.That(OptionBinder.Bind<FuzzOptions>(json.RootElement, "options", problems), Is.EqualTo(new FuzzOptions { Mode = FuzzMode.MapForeign, Seed = 7 }));
        using JsonDocument wrong = JsonDocument.Parse("""{ "period": "10 us", "duty": 100 }""");
        OptionBinder.Bind<BurstOptions>(wrong.RootElement, "options", problems);
        Assert.That(problems, Has.Count.EqualTo(2));
    }

    [Test]
    public void An_unknown_guest_is_named_with_those_there_are() =>
        Assert.That(() => BuiltinGuests.Build("spinn"), Throws.ArgumentException.With.Message.Contains("spinn").And.Message.Contains("paging"));

    [Test]
    public void Options_of_another_guest_are_refused()
    {
        Assert.That(() => BuiltinGuests.Build("beat", new FuzzOptions()), Throws.ArgumentException.With.Message.Contains("BeatOptions"));
        Assert.That(() => BuiltinGuests.Build("spin", new BeatOptions()), Throws.ArgumentException.With.Message.Contains("no options"));
    }

    [Test]
    public void A_message_too_long_for_hello_is_refused() =>
        Assert.That(() => BuiltinGuests.Build("hello", new HelloOptions { Message = new string('x', 201) }), Throws.ArgumentException.With.Message.Contains("201"));

    [Test]
    public void The_same_options_give_the_same_kernel()
    {
        byte[] once = BuiltinGuests.Build("fuzz", new FuzzOptions { Seed = 5 }), again = BuiltinGuests.Build("fuzz", new FuzzOptions { Seed = 5 });
        Assert.That(again, Is.EqualTo(once));
    }
}
