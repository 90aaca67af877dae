using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>What a guest asks about the hypervisor, and small calls that need no more than an answer.</summary>
internal static class VersionCalls
{
    private const long Version = (4 << 16) | 17;
    private const int PageSize = 4096;
    private const int MaxConsoleWrite = 4096;

    /// <summary>What one call may write: far more than any kernel's buffer, and a bound on the time it takes.</summary>
    private const ulong MaxConsoleOutput = 64 * 1024;

    /// <summary>xen_version(command, buffer).</summary>
    public static long Operation(ref HypercallCall call)
    {
        switch ((VersionOp)call.A0)
        {
            case VersionOp.Version:
                return Version;
            case VersionOp.Extraversion:
                return Text(ref call, ".0-tessera"u8, 16);
            case VersionOp.Capabilities:
                return Text(ref call, "xen-3.0-x86_64 "u8, 1024);
            case VersionOp.Changeset:
                return Text(ref call, [], 64);
            case VersionOp.CompileInfo:
                return Text(ref call, "Tessera"u8, 64 + 16 + 32 + 32);
            case VersionOp.PlatformParameters:
                return call.TryWrite(call.A1, HypervisorRange.Start) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
            case VersionOp.GetFeatures:
                return GetFeatures(ref call);
            case VersionOp.Pagesize:
                return call.A1 == 0 ? PageSize : HypercallCall.Error(XenErrno.EINVAL);
            case VersionOp.GuestHandle:
                return Text(ref call, [], 16);
            case VersionOp.Commandline:
                return Text(ref call, "<denied>"u8, 1024);
            case VersionOp.BuildId:
                return HypercallCall.Error(XenErrno.EPERM);
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
    }

    /// <summary>console_io(command, count, buffer): output goes to the domain's console; there is no input.</summary>
    public static long ConsoleOperation(ref HypercallCall call)
    {
        if ((ConsoleIo)call.A0 != ConsoleIo.Write)
            return HypercallCall.Error(XenErrno.EPERM);
        if (call.A1 > MaxConsoleOutput)
            return HypercallCall.Error(XenErrno.E2BIG);
        Span<byte> buffer = stackalloc byte[MaxConsoleWrite];
        for (ulong done = 0; done < call.A1;)
        {
            Span<byte> text = buffer[..(int)Math.Min(call.A1 - done, MaxConsoleWrite)];
            if (!call.Domain.Guest.TryRead(call.Vcpu.Index, userMode: false, call.A2 + done, text))
                return HypercallCall.Error(XenErrno.EFAULT);
            call.Domain.Console.Append(text);
            done += (ulong)text.Length;
        }

        return 0;
    }

    /// <summary>vm_assist(command, type): the kinds that need nothing are granted.</summary>
    public static long VmAssist(ref HypercallCall call)
    {
        if (!IsAssist(call.A1))
            return HypercallCall.Error(XenErrno.EINVAL);
        if (call.A0 > (ulong)VmAssistCommand.Disable)
            return HypercallCall.Error(XenErrno.ENOSYS);
        if ((VmAssistType)call.A1 == VmAssistType.ArchitecturalIopl)
            call.Domain.ArchitecturalIopl = call.A0 == (ulong)VmAssistCommand.Enable;
        if ((VmAssistType)call.A1 == VmAssistType.PaeExtendedCr3)
            call.Domain.ExtendedCr3 = call.A0 == (ulong)VmAssistCommand.Enable;
        return 0;
    }

    private static bool IsAssist(ulong type) => (VmAssistType)type is VmAssistType.FourGbSegments or VmAssistType.FourGbSegmentsNotify
        or VmAssistType.WritablePagetables or VmAssistType.PaeExtendedCr3 or VmAssistType.ArchitecturalIopl or VmAssistType.RunstateUpdateFlag
        or VmAssistType.M2pStrict;

    private static long GetFeatures(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out uint word))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (word != 0)
            return HypercallCall.Error(XenErrno.EINVAL);
        Features features = Features.MmuPtUpdatePreserveAd | Features.HighmemAssist | Features.GnttabMapAvailBits | Features.MemoryOpVnodeSupported
            | Features.DirectMapped | (call.Domain.ExtendedCr3 ? Features.PaePgdirAbove4Gb : Features.None);
        return call.TryWrite(call.A1 + 4, (uint)features) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    private static long Text(ref HypercallCall call, ReadOnlySpan<byte> text, int size)
    {
        Span<byte> buffer = stackalloc byte[size];
        buffer.Clear();
        text.CopyTo(buffer);
        return call.Domain.Guest.TryWrite(call.Vcpu.Index, userMode: false, call.A1, buffer) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }
}
