using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>physdev_op (public/physdev.h): a guest without devices sets who of it may use ports; the rest is refused as Xen refuses
/// it.</summary>
internal static class PhysdevCalls
{
    /// <summary>Interrupt numbers that a domain has; none is a device's.</summary>
    public const uint Interrupts = 56;

    private const uint NeedsEoi = 1;

    /// <summary>physdev_op(command, argument).</summary>
    public static long Operation(ref HypercallCall call)
    {
        switch ((PhysdevOp)(int)call.A0)
        {
            case PhysdevOp.SetIopl:
                if (!call.TryRead(call.A1, out uint level))
                    return HypercallCall.Error(XenErrno.EFAULT);
                if (level > PortAccess.MaxLevel)
                    return HypercallCall.Error(XenErrno.EINVAL);
                call.Vcpu.Context.IoPrivilege = (int)level;
                return 0;
            case PhysdevOp.SetIobitmap:
                if (!call.TryRead(call.A1, out IoBitmapRequest bitmap))
                    return HypercallCall.Error(XenErrno.EFAULT);
                if (bitmap.Ports > PortAccess.Ports)
                    return HypercallCall.Error(XenErrno.EINVAL);
                (call.Vcpu.Context.IoBitmap, call.Vcpu.Context.IoBitmapPorts) = (bitmap.Address, bitmap.Ports);
                return 0;
            case PhysdevOp.IrqUnmaskNotify:
                return 0;
            case PhysdevOp.IrqStatusQuery:
                return StatusOfInterrupt(ref call);
            case PhysdevOp.PciMmcfgReserved or PhysdevOp.DbgpOp:
                return HypercallCall.Error(XenErrno.EPERM);
            case PhysdevOp.Eoi or PhysdevOp.PirqEoiGmfnV1 or PhysdevOp.PirqEoiGmfnV2:
                return Refuse(ref call, XenErrno.EINVAL);
            case PhysdevOp.GetFreePirq:
                return Refuse(ref call, XenErrno.ENOSPC);
            case PhysdevOp.ApicRead or PhysdevOp.ApicWrite or PhysdevOp.AllocIrqVector or PhysdevOp.MapPirq or PhysdevOp.UnmapPirq or PhysdevOp.ManagePciAdd
                or PhysdevOp.ManagePciRemove or PhysdevOp.RestoreMsi or PhysdevOp.ManagePciAddExt or PhysdevOp.SetupGsi or PhysdevOp.PciDeviceAdd
                or PhysdevOp.PciDeviceRemove or PhysdevOp.RestoreMsiExt or PhysdevOp.PrepareMsix or PhysdevOp.ReleaseMsix:
                return Refuse(ref call, XenErrno.EPERM);
            default:
                return HypercallCall.Error(XenErrno.ENOSYS);
        }
    }

    /// <summary>The older form: command and argument in one structure.</summary>
    public static long Compat(ref HypercallCall call)
    {
        if (!call.TryRead(call.A0, out uint command))
            return HypercallCall.Error(XenErrno.EFAULT);
        (call.A1, call.A0) = (call.A0 + sizeof(ulong), command);
        return (PhysdevOp)command is PhysdevOp.IrqUnmaskNotify or PhysdevOp.IrqStatusQuery or PhysdevOp.SetIopl or PhysdevOp.SetIobitmap or PhysdevOp.ApicRead
            or PhysdevOp.ApicWrite or PhysdevOp.AllocIrqVector
            ? Operation(ref call) : HypercallCall.Error(XenErrno.ENOSYS);
    }

    private static long Refuse(ref HypercallCall call, XenErrno error) =>
        HypercallCall.Error(call.TryRead(call.A1, out uint _) ? error : XenErrno.EFAULT);

    private static long StatusOfInterrupt(ref HypercallCall call)
    {
        if (!call.TryRead(call.A1, out InterruptStatus status))
            return HypercallCall.Error(XenErrno.EFAULT);
        if (status.Interrupt >= Interrupts)
            return HypercallCall.Error(XenErrno.EINVAL);
        return call.TryWrite(call.A1, status with { Flags = NeedsEoi }) ? 0 : HypercallCall.Error(XenErrno.EFAULT);
    }

    /// <summary>physdev_set_iobitmap.</summary>
    private readonly record struct IoBitmapRequest(ulong Address, uint Ports, uint Padding);

    private readonly record struct InterruptStatus(uint Interrupt, uint Flags);
}
