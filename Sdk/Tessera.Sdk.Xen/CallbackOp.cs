namespace Tessera.Sdk.Xen;

/// <summary>Sub-ops of <see cref="Hypercall.CallbackOp"/> (public/callback.h).</summary>
public enum CallbackOp
{
    /// <summary>Argument: callback_register (<see cref="CallbackRegister"/>).</summary>
    Register = 0,

    /// <summary>Argument: callback_unregister, uint16 type first.</summary>
    Unregister = 1,
}

/// <summary>Entries a guest registers (CALLBACKTYPE_*).</summary>
public enum CallbackType
{
    Event = 0,
    Failsafe = 1,
    Syscall = 2,
    SysenterDeprecated = 3,
    Nmi = 4,
    Sysenter = 5,
    Syscall32 = 7,
}

/// <summary>Flags of a registered entry (CALLBACKF_*).</summary>
[Flags]
public enum CallbackFlags : ushort
{
    None = 0,

    /// <summary>The upcall mask is set on entry.</summary>
    MaskEvents = 1 << 0,
}
