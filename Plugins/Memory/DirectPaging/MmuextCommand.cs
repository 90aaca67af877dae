namespace Tessera.Plugins.Memory.DirectPaging;

/// <summary>The mmuext_op commands on tables (public/xen.h, MMUEXT_*).</summary>
internal static class MmuextCommand
{
    public const uint PinL1Table = 0;
    public const uint PinL4Table = 3;
    public const uint UnpinTable = 4;
    public const uint NewBasePointer = 5;
    public const uint NewUserBasePointer = 15;
    public const uint ClearPage = 16;
    public const uint CopyPage = 17;
}
