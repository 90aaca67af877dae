using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Software.Tests;

/// <summary>No address of a guest's matches an entry of the TLB or of the jump cache that is empty: what was there last is not there for anybody.</summary>
[TestFixture(false)]
[TestFixture(true)]
internal sealed class EmptyEntryTests(bool plain) : GuestFixture(plain)
{
    private const int ProtectionFault = 13;

    /// <summary>Empty slots of the TLB have tags of this page and of the other.</summary>
    private static readonly ulong[] NoPages = [0xc000_0000_0000_0000, 0xbfff_ffff_ffe0_0000, 0x4000_0000_0000_0000];

    /// <summary>And empty entries of the jump cache.</summary>
    private static readonly ulong[] NoCodes = [ulong.MaxValue >> 1, (ulong.MaxValue >> 1) - 4, 1UL << 63];

    [Test]
    public void No_address_matches_a_page_that_may_not_be_written([ValueSource(nameof(NoPages))] ulong page, [Values(-3L, 0L, 0x40L, 0xffcL)] long offset, [Values] bool writes) => With((guest, thread) =>
    {
        // The first slots have pages that are read and never written: of code, and at the end of a table's reach.
        guest.Assemble(code =>
        {
            code.mov(rcx, __[rsi]);
            code.xor(ecx, ecx);
            if (writes)
                code.mov(__dword_ptr[rbx], eax);
            else
                code.mov(eax, __dword_ptr[rbx]);
            guest.Hypercall(code);
        });
        guest.CodeChanged();
        byte[] before = MemoryMarshal.AsBytes(guest.Words((int)(guest.CodeFrame.Value - guest.Frame(0).Value))).ToArray();
        for (int round = 0; round < 2; round++)
        {
            (guest.State.Rip, guest.State.Rsi, guest.State.Rbx, guest.State.Rax) = (EngineGuest.Code, EngineGuest.Code, page + (ulong)offset, 0x1234_5678);
            Trap trap = guest.Run(thread);
            Assert.That((trap.Kind, trap.Vector, guest.State.Rax, guest.State.Rip), Is.EqualTo((TrapKind.Exception, (byte)ProtectionFault, 0x1234_5678UL, EngineGuest.Code + 5)), $"round {round}: {trap.Diagnosis}");
        }

        Assert.That(MemoryMarshal.AsBytes(guest.Words((int)(guest.CodeFrame.Value - guest.Frame(0).Value))).SequenceEqual(before), Is.True);
    });

    [Test]
    public void No_jump_matches_code_that_is_not_there([ValueSource(nameof(NoCodes))] ulong target, [Values] bool calls) => With((guest, thread) =>
    {
        guest.Assemble(code =>
        {
            if (calls)
                code.call(rax);
            else
                code.jmp(rax);
        });
        guest.State.Rax = target;
        Trap trap = guest.Run(thread);
        Assert.That((trap.Kind, trap.Vector), Is.EqualTo((TrapKind.Exception, (byte)ProtectionFault)), trap.Diagnosis);
    });
}
