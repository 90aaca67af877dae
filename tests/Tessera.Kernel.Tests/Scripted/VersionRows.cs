using Tessera.Sdk.Xen;
using static Tessera.Kernel.Tests.Scripted.Script;
using static Tessera.Kernel.Tests.Scripted.Struct;

namespace Tessera.Kernel.Tests.Scripted;

/// <summary>
/// xen_version, console_io, vm_assist, physdev_op, nmi_op, and numbers that are no hypercall (public/version.h, xen.h, physdev.h).
/// </summary>
internal sealed class VersionRows
{
    private const int LongestOutput = 64 * 1024;

    private static IEnumerable<TestCaseData> Rows => Row.Cases(
        new("version", Version(VersionOp.Version, 0), Rax: (4 << 16) | 17),
        new("extraversion", Version(VersionOp.Extraversion, Sized(16)), Out: new(Text(".0-tessera", 16))),
        new("compile_info", Version(VersionOp.CompileInfo, Sized(144)), Out: new(Text("Tessera", 144))),
        new("capabilities", Version(VersionOp.Capabilities, Sized(1024)), Out: new(Text("xen-3.0-x86_64 ", 1024))),
        new("changeset", Version(VersionOp.Changeset, Sized(64)), Out: new(Text("", 64))),
        new("platform_parameters", Version(VersionOp.PlatformParameters, Sized(8)), Out: new(U64(HypervisorRange.Start))),
        new("get_features of the first submap", Version(VersionOp.GetFeatures, new Struct(U32(0), U32(0))),
            Out: new(U32(0), U32((1 << 5) | (1 << 6) | (1 << 7) | (1 << 13) | (1 << 17)))),
        new("get_features after pae_extended_cr3", Version(VersionOp.GetFeatures, new Struct(U32(0), U32(0))),
            Out: new(U32(0), U32((1 << 4) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 13) | (1 << 17))),
            After: [Assist(VmAssistCommand.Enable, VmAssistType.PaeExtendedCr3)]),
        new("get_features of a submap there is not", Version(VersionOp.GetFeatures, new Struct(U32(1), U32(99))), Rax: -EINVAL),
        new("get_features with no argument", Version(VersionOp.GetFeatures, Nowhere), Rax: -EFAULT),
        new("pagesize", Version(VersionOp.Pagesize, 0), Rax: 4096),
        new("pagesize with an argument", Version(VersionOp.Pagesize, At(Free)), Rax: -EINVAL),
        new("guest_handle", Version(VersionOp.GuestHandle, Sized(16)), Out: new(Text("", 16))),
        new("commandline is not for guests", Version(VersionOp.Commandline, Sized(1024)), Out: new(Text("<denied>", 1024))),
        new("build_id", Version(VersionOp.BuildId, 0), Rax: -EPERM),
        new("a version operation there is not", Version((VersionOp)11, 0), Rax: -ENOSYS),
        new("a text to nowhere", Version(VersionOp.Capabilities, Nowhere), Rax: -EFAULT),
        new("platform_parameters to nowhere", Version(VersionOp.PlatformParameters, Nowhere), Rax: -EFAULT),

        new("console_io write", Console(ConsoleIo.Write, 6, new Struct(Text("hello\n", 8))), Console: "hello\n"),
        new("console_io write of nothing", Console(ConsoleIo.Write, 0, Nowhere)),
        new("console_io write over a page's end", Console(ConsoleIo.Write, 4, At(Free, 4094)), Console: "abcd",
            After: [Stores(At(Free, 4094), Text("abcd", 4))]),
        new("console_io write from nowhere", Console(ConsoleIo.Write, 1, Nowhere), Rax: -EFAULT),
        new("console_io write of too much", Console(ConsoleIo.Write, LongestOutput + 1, At(Free)), Rax: -E2BIG),
        new("console_io read has nothing", Console(ConsoleIo.Read, 8, At(Free)), Rax: -EPERM),
        new("console_io of another kind", Console((ConsoleIo)2, 0, 0), Rax: -EPERM),

        new("vm_assist writable_pagetables", Assist(VmAssistCommand.Enable, VmAssistType.WritablePagetables)),
        new("vm_assist 4gb_segments", Assist(VmAssistCommand.Enable, VmAssistType.FourGbSegments)),
        new("vm_assist 4gb_segments_notify", Assist(VmAssistCommand.Disable, VmAssistType.FourGbSegmentsNotify)),
        new("vm_assist pae_extended_cr3", Assist(VmAssistCommand.Enable, VmAssistType.PaeExtendedCr3)),
        new("vm_assist runstate_update_flag", Assist(VmAssistCommand.Enable, VmAssistType.RunstateUpdateFlag)),
        new("vm_assist m2p_strict", Assist(VmAssistCommand.Enable, VmAssistType.M2pStrict)),
        new("vm_assist of a type there is not", Assist(VmAssistCommand.Enable, (VmAssistType)6), Rax: -EINVAL),
        new("vm_assist with a command there is not", Assist((VmAssistCommand)2, VmAssistType.WritablePagetables), Rax: -ENOSYS),

        new("set_iopl", Physdev(PhysdevOp.SetIopl, new Struct(U32(3)))),
        new("set_iopl of 4", Physdev(PhysdevOp.SetIopl, new Struct(U32(4))), Rax: -EINVAL),
        new("set_iopl with no argument", Physdev(PhysdevOp.SetIopl, Nowhere), Rax: -EFAULT),
        new("set_iobitmap", Physdev(PhysdevOp.SetIobitmap, new Struct(U64(At(Free)), U32(65536)))),
        new("set_iobitmap of too many ports", Physdev(PhysdevOp.SetIobitmap, new Struct(U64(At(Free)), U32(65537))), Rax: -EINVAL),
        new("set_iobitmap with no argument", Physdev(PhysdevOp.SetIobitmap, Nowhere), Rax: -EFAULT),
        new("a device's interrupt", Physdev(PhysdevOp.MapPirq, At(Free)), Rax: -EPERM),

        new("nmi_op register_callback", Call(Hypercall.NmiOp, 0, new Struct(U64(Handler(2))))),
        new("nmi_op register_callback with no argument", Call(Hypercall.NmiOp, 0, 0), Rax: -EFAULT),
        new("nmi_op register_callback of no address", Call(Hypercall.NmiOp, 0, new Struct(U64(NotCanonical))), Rax: -EINVAL),
        new("nmi_op unregister_callback", Call(Hypercall.NmiOp, 1, 0)),
        new("nmi_op of another kind", Call(Hypercall.NmiOp, 2, 0), Rax: -ENOSYS),

        new("platform_op with no argument", Call(Hypercall.PlatformOp, 0), Rax: -EFAULT),
        new("a hypercall of control domains", Call(Hypercall.Domctl, At(Free)), Rax: -EACCES),
        new("a hypercall of control domains with the interface's version", Call(Hypercall.Domctl, new Struct(U32(1), U32(0x15))), Rax: -EPERM),
        new("a hypercall of control domains with no argument", Call(Hypercall.Sysctl, Nowhere), Rax: -EFAULT),
        new("a hypercall of HVM guests", Call(Hypercall.HvmOp, 0, At(Free)), Rax: -EINVAL),
        new("dm_op without buffers", Call(Hypercall.DmOp, Self, 0, 0), Rax: -ENODATA),
        new("dm_op with too many", Call(Hypercall.DmOp, Self, 3, 0), Rax: -E2BIG),
        new("xenpmu_op", Call(Hypercall.XenpmuOp, 0, At(Free)), Rax: -EOPNOTSUPP),
        new("hypercall 63", Call((Hypercall)63), Rax: -ENOSYS),
        new("hypercall 64", Call((Hypercall)64), Rax: -ENOSYS),
        new("hypercall -1", Call((Hypercall)(-1)), Rax: -ENOSYS),
        new("version by the engine's own instruction", EntryInstruction((R.Rax, Hypercall.XenVersion), (R.Rdi, 0), (R.Rsi, 0)),
            Rax: (4 << 16) | 17));

    [TestCaseSource(nameof(Rows))]
    public void A_question_to_the_hypervisor(Row row) => row.Check();

    private static Step Version(VersionOp operation, Argument argument) => Call(Hypercall.XenVersion, operation, argument);

    private static Step Console(ConsoleIo operation, int count, Argument buffer) => Call(Hypercall.ConsoleIo, operation, count, buffer);

    private static Step Assist(VmAssistCommand command, VmAssistType type) => Call(Hypercall.VmAssist, command, type);

    private static Step Physdev(PhysdevOp operation, Argument argument) => Call(Hypercall.PhysdevOp, operation, argument);

    private static Struct Sized(int bytes) => new(Raw([.. Enumerable.Repeat((byte)0x5a, bytes)]));
}
