using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Probe;

/// <summary>The page tables that the probe runs on: the one of each level that maps its image.</summary>
internal sealed partial class ProbeCode
{
    private const int Levels = 4;

    private ulong _tableFrames;
    private ulong _tableAddresses;

    /// <summary>Where the frame number of the table of a level stands, 1 to 4.</summary>
    public ulong TableFrame(int level) => _tableFrames + ((ulong)(level - 1) * 8);

    /// <summary>Where its address stands.</summary>
    public ulong TableAddress(int level) => _tableAddresses + ((ulong)(level - 1) * 8);

    /// <summary>The index in a level's table of the entry on the way to an address.</summary>
    public static int Index(ulong address, int level) => (int)(address >> (12 + (9 * (level - 1)))) & 511;

    /// <summary>Walks down to the image and keeps what it finds.</summary>
    public void FindTables()
    {
        _tableFrames = G.Reserve(Levels * 8);
        _tableAddresses = G.Reserve(Levels * 8);
        G.LoadStartInfo(rsi);
        C.mov(rbx, __qword_ptr[rsi + StartInfo.PtBase]);
        C.mov(GuestCode.Absolute(TableAddress(Levels)), rbx);
        C.mov(rcx, rbx);
        G.Set(rax, GuestImage.VirtBase);
        C.sub(rcx, rax);
        C.shr(rcx, 12);
        G.LoadFrameList(rdx);
        C.mov(rax, __qword_ptr[rdx + (rcx * 8)]);
        C.mov(GuestCode.Absolute(TableFrame(Levels)), rax);
        for (int level = Levels; level > 1; level--)
        {
            C.mov(rdi, __qword_ptr[rbx + (Index(GuestImage.VirtBase, level) * 8)]);
            C.shl(rdi, 12);
            C.shr(rdi, 24);
            C.mov(GuestCode.Absolute(TableFrame(level - 1)), rdi);
            G.FindAddress();
            C.mov(rbx, rax);
            C.mov(GuestCode.Absolute(TableAddress(level - 1)), rbx);
        }
    }

    /// <summary>Puts the machine address of an entry of a level's table into memory.</summary>
    public void PutEntryAddress(ulong into, int level, int index, int commandBits = 0)
    {
        C.mov(rax, GuestCode.Absolute(TableFrame(level)));
        C.shl(rax, 12);
        C.add(rax, (index * 8) | commandBits);
        C.mov(GuestCode.Absolute(into), rax);
    }

    /// <summary>Puts the entry that would map a table into memory.</summary>
    public void PutTableEntry(ulong into, int level, int flags)
    {
        C.mov(rax, GuestCode.Absolute(TableFrame(level)));
        C.shl(rax, 12);
        C.or(rax, flags);
        C.mov(GuestCode.Absolute(into), rax);
    }
}
