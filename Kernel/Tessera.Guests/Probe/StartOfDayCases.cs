using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Probe;

/// <summary>What a domain finds when it starts: start_info, shared_info, selectors, the table of its frames.</summary>
internal static class StartOfDayCases
{
    public static void Emit(ProbeCode p)
    {
        p.Group("start");
        CopyStartInfo(p);
        ulong info = p.Page;
        p.Facts("magic", info, info + 4, info + 8, info + 12);
        p.Facts("nr_pages", info + StartInfo.NrPages);
        p.Facts("flags", info + StartInfo.Flags);
        p.Facts("store_evtchn", info + StartInfo.StoreEventChannel);
        p.Facts("console_evtchn", info + StartInfo.ConsoleEventChannel);
        p.Facts("nr_pt_frames", info + StartInfo.NrPtFrames);
        p.Facts("mod_start", info + StartInfo.ModStart, info + StartInfo.ModStart + 4);
        p.Facts("mod_len", info + StartInfo.ModLen);
        p.Facts("cmd_line", info + StartInfo.CommandLine, info + StartInfo.CommandLine + 4);
        p.Facts("first_p2m_pfn", info + StartInfo.FirstP2mPfn);
        p.Facts("nr_p2m_frames", info + StartInfo.NrP2mFrames);
        SharedInfoFacts(p);
        Selectors(p);
    }

    private static void CopyStartInfo(ProbeCode p)
    {
        p.G.LoadStartInfo(rsi);
        p.G.Set(rdi, p.Page);
        p.C.mov(ecx, StartInfo.Size / 8);
        p.C.rep.movsq();
    }

    private static void SharedInfoFacts(ProbeCode p)
    {
        ulong shared = p.G.Shared;
        for (int vcpu = 0; vcpu < 3; vcpu++)
        {
            ulong info = shared + (ulong)(vcpu * VcpuInfo.Size);
            p.Facts($"vcpu_info {vcpu} upcall", info);
            p.Facts($"vcpu_info {vcpu} selector", info + VcpuInfo.PendingSelector, info + VcpuInfo.PendingSelector + 4);
        }

        p.Facts("pending", shared + SharedInfo.EventPending, shared + SharedInfo.EventPending + 4);
        p.Facts("mask", shared + SharedInfo.EventMask, shared + SharedInfo.EventMask + 4);
        p.Facts("max_pfn", shared + SharedInfo.MaxPfn, shared + SharedInfo.MaxPfn + 4);
        p.Facts("p2m_list_list", shared + SharedInfo.P2mFrameListList, shared + SharedInfo.P2mFrameListList + 4);
        p.Facts("nmi_reason", shared + SharedInfo.NmiReason);
        p.Facts("p2m_cr3", shared + SharedInfo.P2mCr3);
        p.Facts("p2m_vaddr", shared + SharedInfo.P2mVaddr);
        p.Facts("p2m_generation", shared + SharedInfo.P2mGeneration);
    }

    private static void Selectors(ProbeCode p)
    {
        p.Instruction("cs", c => c.mov(eax, cs), 0xffff);
        p.Instruction("ss", c => c.mov(eax, ss), 0xffff);
        p.Instruction("ds", c => c.mov(eax, ds), 0xffff);
        p.Instruction("es", c => c.mov(eax, es), 0xffff);
        p.Instruction("fs", c => c.mov(eax, fs), 0xffff);
        p.Instruction("gs", c => c.mov(eax, gs), 0xffff);
        p.Instruction("flags", c =>
        {
            c.pushfq();
            c.pop(rax);
        }, 0xffff_f700);
    }
}
