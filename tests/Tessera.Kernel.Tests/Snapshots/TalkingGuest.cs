using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Kernel.Store;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.Tests.Snapshots;

/// <summary>
/// A guest that talks to each part of the VMM without a pause, and dies by an illegal instruction of any answer that is not right: an event to itself, a line on its
/// console, its name from the store, the size of its grant table, and its count in memory.
/// </summary>
internal static class TalkingGuest
{
    public const int GrantFrames = 3;

    private const int CodePage = 230;
    private const int DataPage = 231;
    private const int SharedPage = 232;
    private const int CountAt = 0;
    private const int EventAt = 64;
    private const int SizeAt = 128;
    private const int RequestAt = 256;
    private const int StorePort = 1;
    private const int ConsolePort = 2;
    private const int RequestBytes = StoreHeader.Bytes + 5;

    public static Domain Start(TestMachine machine)
    {
        Domain domain = machine.Machine.CreateDomain(new DomainConfiguration
        {
            Name = $"talker-{Guid.NewGuid():N}",
            Image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin"),
            MemoryBytes = BuiltinGuests.LeastMemoryBytes,
        });
        HandDomain hand = new(domain, null!, null!);
        Assert.That(domain.Mmu.UpdateVaMapping(0, new VirtualAddress(hand.Address(SharedPage)), domain.Memory.SharedInfoFrame.Address | 0x63), Is.EqualTo(XenErrno.Success));
        Assert.That(domain.Events.AllocateUnbound(domain.Id.Value, out int listening), Is.EqualTo(XenErrno.Success));
        Assert.That(domain.Events.BindInterdomain(domain.Events, listening, out int sending), Is.EqualTo(XenErrno.Success));
        Assert.That(domain.Grants.SetVersion(2), Is.EqualTo(XenErrno.Success));
        Assert.That(domain.Grants.TryGrow(GrantFrames), Is.True);
        StoreHeader.Message(StoreMessage.Read, 0, 0, "name\0"u8).CopyTo(hand.Page(DataPage)[RequestAt..]);

        Assembler c = new(64);
        Emit(c, hand, listening, sending);
        ref ulong rip = ref domain.Vcpus[0].Cpu.State.Rip;
        rip = hand.Address(CodePage);
        using MemoryStream stream = new();
        _ = c.Assemble(new StreamCodeWriter(stream), rip);
        stream.ToArray().CopyTo(hand.Page(CodePage));
        machine.Machine.Start(domain);
        return domain;
    }

    /// <summary>How often it has been round.</summary>
    public static ulong CountOf(Domain domain) => Volatile.Read(ref MemoryMarshal.AsRef<ulong>(new HandDomain(domain, null!, null!).Page(DataPage)[CountAt..]));

    private static void Emit(Assembler c, HandDomain hand, int listening, int sending)
    {
        long data = (long)hand.Address(DataPage), shared = (long)hand.Address(SharedPage);
        long console = (long)hand.Address((int)(hand.Domain.Rings.Console.Value - hand.Frame(0).Value)), store = (long)hand.Address((int)(hand.Domain.Rings.Store.Value - hand.Frame(0).Value));
        Label loop = c.CreateLabel(), wrong = c.CreateLabel(), room = c.CreateLabel(), next = c.CreateLabel();
        c.xor(ebx, ebx);
        c.Label(ref loop);
        c.inc(rbx);
        Send(c, data, sending);
        c.btr(__qword_ptr[shared + SharedInfo.EventPending], (byte)listening);
        c.jae(wrong);

        c.Label(ref room);
        c.mov(ecx, __dword_ptr[console + ConsoleRing.OutProd]);
        c.mov(edx, ecx);
        c.sub(edx, __dword_ptr[console + ConsoleRing.OutCons]);
        c.cmp(edx, ConsoleRing.OutSize - 2);
        c.ja(room);
        foreach (byte letter in "!\n"u8)
        {
            c.mov(edx, ecx);
            c.and(edx, ConsoleRing.OutSize - 1);
            c.mov(__byte_ptr[rdx + (console + ConsoleRing.Out)], letter);
            c.inc(ecx);
        }

        c.mov(__dword_ptr[console + ConsoleRing.OutProd], ecx);
        Send(c, data, ConsolePort);

        c.mov(__dword_ptr[data + RequestAt + 4], ebx);
        c.mov(ecx, __dword_ptr[store + StoreRing.RequestProd]);
        c.xor(esi, esi);
        c.Label(ref next);
        c.mov(al, __byte_ptr[rsi + (data + RequestAt)]);
        c.mov(edx, ecx);
        c.and(edx, StoreRing.RingSize - 1);
        c.mov(__byte_ptr[rdx + (store + StoreRing.Request)], al);
        c.inc(ecx);
        c.inc(esi);
        c.cmp(esi, RequestBytes);
        c.jb(next);
        c.mov(__dword_ptr[store + StoreRing.RequestProd], ecx);
        Send(c, data, StorePort);
        c.mov(r12d, StoreHeader.Bytes);
        AwaitAnswer(c, store);
        Load(c, store, 0);
        c.cmp(eax, (int)StoreMessage.Read);
        c.jne(wrong);
        Load(c, store, 4);
        c.cmp(eax, ebx);
        c.jne(wrong);
        Load(c, store, 12);
        c.lea(r12d, __dword_ptr[rax + StoreHeader.Bytes]);
        AwaitAnswer(c, store);
        c.add(__dword_ptr[store + StoreRing.ResponseCons], r12d);
        Send(c, data, StorePort);

        c.mov(__dword_ptr[data + SizeAt + GrantLayout.QuerySizeDomain], DomainIds.Self);
        Call(c, Hypercall.GrantTableOp, (int)GrantTableOp.QuerySize, data + SizeAt, 1);
        c.cmp(__dword_ptr[data + SizeAt + GrantLayout.QuerySizeNrFrames], GrantFrames);
        c.jne(wrong);
        c.mov(__qword_ptr[data + CountAt], rbx);
        c.jmp(loop);
        c.Label(ref wrong);
        c.ud2();
    }

    /// <summary>Waits for R12 bytes of an answer, and gives its turn away meanwhile.</summary>
    private static void AwaitAnswer(Assembler c, long store)
    {
        Label again = c.CreateLabel(), there = c.CreateLabel();
        c.Label(ref again);
        c.mov(ecx, __dword_ptr[store + StoreRing.ResponseProd]);
        c.sub(ecx, __dword_ptr[store + StoreRing.ResponseCons]);
        c.cmp(ecx, r12d);
        c.jae(there);
        Call(c, Hypercall.SchedOp, (int)SchedOp.Yield, 0, 0);
        c.jmp(again);
        c.Label(ref there);
        c.zero_bytes();
    }

    /// <summary>Loads a word of an answer into EAX, byte by byte: it may lie around the ring's end.</summary>
    private static void Load(Assembler c, long store, int offset)
    {
        c.xor(eax, eax);
        for (int at = 3; at >= 0; at--)
        {
            c.mov(ecx, __dword_ptr[store + StoreRing.ResponseCons]);
            c.add(ecx, offset + at);
            c.and(ecx, StoreRing.RingSize - 1);
            c.shl(eax, 8);
            c.mov(al, __byte_ptr[rcx + (store + StoreRing.Response)]);
        }
    }

    private static void Send(Assembler c, long data, int port)
    {
        c.mov(__dword_ptr[data + EventAt], port);
        Call(c, Hypercall.EventChannelOp, (int)EventChannelOp.Send, data + EventAt, 0);
    }

    private static void Call(Assembler c, Hypercall number, int operation, long argument, int count)
    {
        c.mov(edi, operation);
        c.mov(rsi, (ulong)argument);
        c.mov(edx, count);
        c.mov(eax, (int)number);
        c.syscall();
    }
}
