namespace Tessera.Sdk.Xen;

/// <summary>First argument of <see cref="Hypercall.VmAssist"/> (VMASST_CMD_*).</summary>
public enum VmAssistCommand
{
    Enable = 0,
    Disable = 1,
}

/// <summary>Second argument of <see cref="Hypercall.VmAssist"/> (VMASST_TYPE_*).</summary>
public enum VmAssistType
{
    FourGbSegments = 0,
    FourGbSegmentsNotify = 1,
    WritablePagetables = 2,
    PaeExtendedCr3 = 3,
    ArchitecturalIopl = 4,
    RunstateUpdateFlag = 5,
    M2pStrict = 32,
}
