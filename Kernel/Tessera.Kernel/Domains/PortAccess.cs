using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Domains;

/// <summary>
/// Xen's virtual I/O privilege: who may use `cli`, `sti` and ports without #GP. There is no device behind any port: whoever may write one
/// writes to nobody, and reads all ones.
/// </summary>
internal static class PortAccess
{
    public const int MaxLevel = 3;

    /// <summary>Ports there are; an I/O bitmap may cover them all.</summary>
    public const uint Ports = 65536;

    private const int UserRing = 3;
    private const int TimerChannel2 = 0x42;

    /// <summary>Whether the mode that a vCPU is in has the privilege by its level alone. A guest's kernel counts as ring 1, or as ring 0 where it asked for that.</summary>
    public static bool HasPrivilege(Vcpu vcpu) =>
        vcpu.Context.IoPrivilege >= (vcpu.Context.UserMode ? UserRing : vcpu.Domain.ArchitecturalIopl ? 0 : 1);

    /// <summary>Whether it may use a port: by its level, or because the guest's bitmap has only zeros for each of its bytes.</summary>
    public static bool MayUse(Vcpu vcpu, uint port, int bytes)
    {
        if (HasPrivilege(vcpu))
            return true;
        if (port + (uint)bytes > vcpu.Context.IoBitmapPorts)
            return false;
        // The last port's word may reach beyond the bitmap, and the bitmap to the end of what is mapped: what cannot be read is forbidden.
        Span<byte> word = [0xff, 0xff];
        ulong address = vcpu.Context.IoBitmap + (port >> 3);
        if (!vcpu.Domain.Guest.TryRead(vcpu.Index, userMode: false, address, word)
            && !vcpu.Domain.Guest.TryRead(vcpu.Index, userMode: false, address, word[..1]))
            return false;
        int forbidden = word[0] | (word[1] << 8);
        return (forbidden >> (int)(port & 7) & ((1 << bytes) - 1)) == 0;
    }

    /// <summary>What a port reads as: all ones, but the speaker's timer gate answers 0, or kernels poll it for seconds.</summary>
    public static ulong Read(uint port) => port == TimerChannel2 ? 0UL : ulong.MaxValue;
}
