using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Translation;

namespace Tessera.Engine.Software.Tests;

/// <summary>Every instruction that a guest's 64-bit code may execute is asked of the oracle, but for those named here.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
internal sealed class OracleKindsTests
{
    /// <summary>By mnemonic, and why.</summary>
    private static readonly (string Why, Mnemonic[] What)[] Exceptions =
    [
        ("they go to an address in a register or in memory, which random ones would take anywhere; 16 bits of one are not the same on all processors", [Mnemonic.Call, Mnemonic.Jmp, Mnemonic.Ret]),
        ("they change segments, or tell which there are: the guest's are not the host's", [Mnemonic.Iret, Mnemonic.Iretd, Mnemonic.Iretq, Mnemonic.Retf, Mnemonic.Lar, Mnemonic.Lsl, Mnemonic.Verr, Mnemonic.Verw,
            Mnemonic.Lfs, Mnemonic.Lgs, Mnemonic.Lss, Mnemonic.Sgdt, Mnemonic.Sidt, Mnemonic.Sldt, Mnemonic.Smsw, Mnemonic.Str]),
        ("they leave to the kernel, or are answered by the host's clock, its random numbers or its kernel's choice", [Mnemonic.Int, Mnemonic.Int1, Mnemonic.Int3, Mnemonic.Syscall, Mnemonic.Out, Mnemonic.Rdtsc, Mnemonic.Rdtscp,
            Mnemonic.Rdrand, Mnemonic.Rdseed, Mnemonic.Rdpid, Mnemonic.Rdfsbase, Mnemonic.Rdgsbase, Mnemonic.Wrfsbase, Mnemonic.Wrgsbase, Mnemonic.Xgetbv]),
        ("they would step the host's process, or let it check alignment", [Mnemonic.Popf, Mnemonic.Popfq]),
        ("they store where the last x87 instruction was, which is not kept, or load what has no meaning", [Mnemonic.Fldcw, Mnemonic.Fldenv, Mnemonic.Frstor, Mnemonic.Fnsave, Mnemonic.Fnstenv, Mnemonic.Fsave, Mnemonic.Fstenv,
            Mnemonic.Fxrstor, Mnemonic.Fxrstor64, Mnemonic.Fxsave, Mnemonic.Fxsave64, Mnemonic.Xrstor, Mnemonic.Xrstor64, Mnemonic.Xsave, Mnemonic.Xsave64, Mnemonic.Xsaveopt, Mnemonic.Xsaveopt64]),
        ("it stores an MMX register at an address in RDI: the same code as its twins of SSE", [Mnemonic.Maskmovq]),
    ];

    [Test]
    public void Every_instruction_that_may_be_executed_is_asked_of_the_oracle()
    {
        Treatments treatments = new();
        HashSet<Code> asked = [.. RandomInstructions.All, .. RandomOthers.All, .. FaultOracleTests.All];
        SortedDictionary<string, List<Code>> missing = new(StringComparer.Ordinal);
        int count = 0;
        foreach (Code code in Enum.GetValues<Code>())
        {
            if (code == Code.INVALID || !code.ToOpCode().Mode64 || !code.CpuidFeatures().All(RandomInstructions.IsHere))
                continue;
            Instruction probe = default;
            probe.Code = code;
            if (treatments.Of(probe) is not (Treatment.Native or Treatment.Inlined or Treatment.Helper or Treatment.Nothing))
                continue;
            count++;
            bool isNarrowJump = code.ToOpCode() is { OpCount: 1, Op0Kind: OpCodeOperandKind.br16_1 or OpCodeOperandKind.br16_2 };
            if (!asked.Contains(code) && !isNarrowJump && !Exceptions.Any(exception => exception.What.Contains(code.Mnemonic())))
                (missing.TryGetValue($"{code.Mnemonic()}", out List<Code>? codes) ? codes : missing[$"{code.Mnemonic()}"] = []).Add(code);
        }

        // Jumps of 16 bits end elsewhere on other processors.
        TestContext.Out.WriteLine($"{asked.Count} of {count} kinds");
        Assert.That(string.Join('\n', missing.Select(pair => $"{pair.Key}: {string.Join(", ", pair.Value)}")), Is.Empty);
    }
}
