using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Kernel.Domains;

/// <summary>What is known of a crash: why, the vCPU's registers, the last console lines.</summary>
/// <param name="Reason">Why the domain was ended.</param>
/// <param name="Registers">Register names and values; empty when no vCPU was at fault.</param>
/// <param name="UserMode">Whether the vCPU ran the guest's user mode.</param>
/// <param name="ConsoleTail">Last lines of the console.</param>
public sealed record CrashReport(string Reason, IReadOnlyDictionary<string, ulong> Registers, bool UserMode, IReadOnlyList<string> ConsoleTail)
{
    internal static CrashReport Take(Vcpu? vcpu, string reason, IReadOnlyList<string> consoleTail)
    {
        Dictionary<string, ulong> registers = [];
        if (vcpu is not null)
        {
            GuestCpuState state = vcpu.Cpu.State;
            registers = new Dictionary<string, ulong>
            {
                ["rip"] = state.Rip,
                ["rsp"] = state.Rsp,
                ["rflags"] = state.Rflags,
                ["rax"] = state.Rax,
                ["rbx"] = state.Rbx,
                ["rcx"] = state.Rcx,
                ["rdx"] = state.Rdx,
                ["rsi"] = state.Rsi,
                ["rdi"] = state.Rdi,
                ["rbp"] = state.Rbp,
                ["r8"] = state.R8,
                ["r9"] = state.R9,
                ["r10"] = state.R10,
                ["r11"] = state.R11,
                ["r12"] = state.R12,
                ["r13"] = state.R13,
                ["r14"] = state.R14,
                ["r15"] = state.R15,
                ["cs"] = state.Cs,
                ["ss"] = state.Ss,
                ["fs_base"] = state.FsBase,
                ["gs_base"] = state.GsBase,
                ["root"] = (ulong)state.Root.Value,
            };
        }

        return new CrashReport(reason, registers, vcpu?.Context.UserMode ?? false, consoleTail);
    }
}
