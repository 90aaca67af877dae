using Iced.Intel;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Guests.Probe;

/// <summary>Instructions that a kernel in ring 3 may not simply have: control and debug registers, ports, segments, tables,
/// virtualization.</summary>
internal static class InstructionCases
{
    public static void Emit(ProbeCode p)
    {
        p.Group("instruction");
        Control(p);
        Debug(p);
        Ports(p);
        Tables(p);
        Flags(p);
        Segments(p);
        Others(p);
    }

    private static void Control(ProbeCode p)
    {
        const ulong Cr4 = 0xffff_ffff & ~(1UL << 18);
        p.Instruction("read cr0", c => c.mov(rax, cr0), ulong.MaxValue);
        p.Instruction("read cr2", c => c.mov(rax, cr2), ulong.MaxValue);
        p.Instruction("read cr3", c =>
        {
            c.mov(rax, cr3);
            c.shr(rax, 12);
            c.sub(rax, GuestCode.Absolute(p.TableFrame(4)));
        }, ulong.MaxValue);
        p.Instruction("read cr4", c => c.mov(rax, cr4), Cr4);
        p.Instruction("read cr8", c => c.mov(rax, cr8), ulong.MaxValue);
        foreach ((string name, ulong value) in ((string, ulong)[])[("0", 0), ("same", 0x8005_0033), ("ts", 0x8005_003b),
            ("no wp", 0x8004_0033), ("no pg", 0x5_0033), ("no am", 0x8001_0033), ("cd", 0xc005_0033)])
            Write(p, $"cr0 {name}", cr0, value);
        p.Instruction("read cr0 ts", c => c.mov(rax, cr0), 8);
        p.Instruction("clts", c => c.clts());
        p.Instruction("read cr0 no ts", c => c.mov(rax, cr0), 8);
        Write(p, "cr2", cr2, 0x1234);
        p.Instruction("read cr2 after", c => c.mov(rax, cr2), ulong.MaxValue);
        p.Instruction("write cr3 same", c =>
        {
            c.mov(rax, cr3);
            c.mov(cr3, rax);
        });
        Write(p, "cr3 0", cr3, 0);
        p.Instruction("write cr4 same", c =>
        {
            c.mov(rax, cr4);
            c.mov(cr4, rax);
        });
        foreach (int bit in (int[])[0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 16, 17, 20, 21, 22])
        {
            p.Instruction($"flip cr4 bit {bit}", c =>
            {
                c.mov(rax, cr4);
                c.btc(rax, (byte)bit);
                c.mov(cr4, rax);
                c.mov(rax, cr4);
            }, 1UL << bit);
            p.Instruction($"flip cr4 bit {bit} back", c =>
            {
                c.mov(rax, cr4);
                c.btc(rax, (byte)bit);
                c.mov(cr4, rax);
            });
        }

        Write(p, "cr8", cr8, 0);
        p.Instruction("lmsw", c => c.lmsw(ax));
        p.Instruction("smsw", c => c.smsw(eax), 0xffff_fff7);
    }

    private static void Write(ProbeCode p, string name, AssemblerRegisterCR register, ulong value) => p.Instruction($"write {name}", c =>
    {
        p.G.Set(rcx, value);
        c.mov(register, rcx);
    });

    private static void Debug(ProbeCode p)
    {
        AssemblerRegisterDR[] registers = [dr0, dr1, dr2, dr3, dr4, dr5, dr6, dr7];
        for (int index = 0; index < registers.Length; index++)
        {
            AssemblerRegisterDR register = registers[index];
            p.Instruction($"read dr{index}", c => c.mov(rax, register), ulong.MaxValue);
            p.Instruction($"write dr{index} 0", c => c.mov(register, rax));
            p.Instruction($"write dr{index} hypervisor", c =>
            {
                p.G.Set(rcx, ProbeCode.Hypervisor);
                c.mov(register, rcx);
            });
            p.Instruction($"read dr{index} after", c => c.mov(rax, register), ulong.MaxValue);
        }
    }

    private static void Ports(ProbeCode p)
    {
        void All(string when)
        {
            foreach (int port in (int[])[0x20, 0x42, 0x60, 0x64, 0x71, 0x80, 0x3f8])
            {
                p.Instruction($"inb {port:x} {when}", c =>
                {
                    c.mov(edx, port);
                    c.@in(al, dx);
                });
                p.Instruction($"outb {port:x} {when}", c =>
                {
                    c.mov(edx, port);
                    c.@out(dx, al);
                });
            }

            p.Instruction($"inb imm {when}", c => c.@in(al, 0x80));
            p.Instruction($"outl imm {when}", c => c.@out(0x80, eax));
            p.Instruction($"inl cf8 {when}", c =>
            {
                c.mov(edx, 0xcf8);
                c.@in(eax, dx);
            });
            p.Instruction($"inw 1f0 {when}", c =>
            {
                c.mov(edx, 0x1f0);
                c.@in(ax, dx);
            });
            p.Instruction($"cli {when}", c => c.cli());
            p.Instruction($"sti {when}", c => c.sti());
        }

        All("iopl 0");
        p.Put32(p.Page, 1);
        p.Make(Hypercall.PhysdevOp, (int)PhysdevOp.SetIopl, p.Page);
        foreach (string instruction in (string[])["cli", "sti"])
            p.Instruction($"{instruction} iopl 1", c => Emit(c, instruction));
        p.Facts("mask after sti", p.G.Shared);
        p.Put32(p.Page, 0);
        p.Make(Hypercall.PhysdevOp, (int)PhysdevOp.SetIopl, p.Page);
    }

    private static void Emit(Assembler c, string instruction)
    {
        if (instruction == "cli")
            c.cli();
        else
            c.sti();
    }

    private static void Tables(ProbeCode p)
    {
        long at = (long)p.Second;
        foreach ((string name, Action<Assembler> emit) in ((string, Action<Assembler>)[])[
            ("lgdt", c => c.lgdt(__[at])), ("lidt", c => c.lidt(__[at])), ("lldt", c => c.lldt(ax)), ("ltr", c => c.ltr(ax)),
            ("sidt", c => c.sidt(__[at])), ("sgdt", c => c.sgdt(__[at])), ("sldt", c => c.sldt(eax)), ("str", c => c.str(eax))])
            p.Instruction(name, emit);
        foreach (int selector in (int[])[0, 3, 0x10, 0x1238, 0xe008, 0xe010, 0xe023, 0xe02b, 0xe033, 0xfff8, 7])
        {
            p.Instruction($"lar {selector:x}", c =>
            {
                c.mov(ecx, selector);
                c.lar(eax, ecx);
            }, 0xffff_ffff & ~0x100UL);
            p.Instruction($"lsl {selector:x}", c =>
            {
                c.mov(ecx, selector);
                c.lsl(eax, ecx);
            }, 0xffff_ffff);
            p.Instruction($"verr {selector:x}", c =>
            {
                c.mov(ecx, selector);
                c.verr(cx);
                c.sete(al);
            }, 0xff);
        }
    }

    private static void Flags(ProbeCode p)
    {
        foreach ((string name, int flags) in ((string, int)[])[("if off", 2), ("iopl 3", 0x3202), ("nt", 0x4202), ("ac", 0x40202),
            ("id", 0x200202), ("vif", 0x80202), ("direction", 0x602)])
        {
            p.Instruction($"popf {name}", c =>
            {
                c.push(flags);
                c.popfq();
                c.pushfq();
                c.pop(rax);
                c.push(0x202);
                c.popfq();
            }, 0x3f_7700);
        }

        p.Instruction("stac", c => c.stac());
        p.Instruction("clac", c => c.clac());
    }

    private static void Segments(ProbeCode p)
    {
        foreach (int selector in (int[])[0, 3, 0x28, 0x1238, 0xe008, 0xe010, 0xe023, 0xe02b, 0xe033, 0xfff8, 7])
        {
            foreach ((string name, AssemblerRegisterSegment segment) in ((string, AssemblerRegisterSegment)[])[("ds", ds), ("es", es),
                ("ss", ss)])
            {
                if (name == "ss" && selector is 0 or 3)
                    continue;
                p.Instruction($"mov {name} {selector:x}", c =>
                {
                    c.mov(eax, selector);
                    c.mov(segment, eax);
                    c.mov(eax, segment);
                }, 0xffff);
            }
        }

        p.Instruction("mov ds 0 back", c =>
        {
            c.mov(ds, eax);
            c.mov(es, eax);
        });
        p.Instruction("swapgs", c => c.swapgs());
    }

    private static void Others(ProbeCode p)
    {
        (string, Action<Assembler>)[] cases =
        [
            ("hlt", c => c.db(0xf4)), ("invlpg", c => c.invlpg(__[(long)p.Second])), ("wbinvd", c => c.wbinvd()),
                ("invd", c => c.invd()), ("monitor", c => c.monitor()),
            ("mwait", c => c.mwait()), ("vmcall", c => c.vmcall()), ("vmmcall", c => c.vmmcall()), ("vmlaunch", c => c.vmlaunch()),
                ("vmxoff", c => c.vmxoff()),
            ("vmrun", c => c.vmrun()), ("stgi", c => c.stgi()), ("clgi", c => c.clgi()), ("skinit", c => c.skinit()),
                ("rsm", c => c.rsm()), ("sysexit", c => c.sysexit()),
            ("sysret", c => c.sysret()), ("rdpmc", c => c.rdpmc()), ("ud2", c => c.ud2()), ("int3", c => c.int3()),
                ("int1", c => c.db(0xf1)),
            ("int 0", c => c.@int(0)), ("int 3", c => c.@int(3)), ("int 4", c => c.@int(4)), ("int d", c => c.@int(13)),
                ("int 20", c => c.@int(0x20)), ("int 80", c => c.@int(0x80)), ("int 82", c => c.@int(0x82)), ("int ff", c => c.@int(0xff)),
            ("divide", c => c.div(ecx)), ("xsetbv", c => c.xsetbv()), ("lock mov", c => c.db(0xf0, 0x89, 0xc0)),
            ("getsec", c => c.db(0x0f, 0x37)), ("rdtsc", c => c.rdtsc()), ("rdtscp", c => c.rdtscp()),
        ];
        foreach ((string name, Action<Assembler> emit) in cases)
        {
            p.Instruction(name, c =>
            {
                p.G.Set(rcx, 0);
                p.G.Set(rdx, 0);
                emit(c);
            });
        }

        foreach ((string name, ulong address) in (IEnumerable<(string, ulong)>)[.. ProbeCode.BadPointers,
            ("idle linear table", 0xffff_8140_0000_0000), ("direct map", 0xffff_8300_0000_1000), ("low", 0x1000)])
        {
            p.Instruction($"load {name}", c =>
            {
                p.G.Set(rcx, address);
                c.mov(rax, __qword_ptr[rcx]);
            });
            p.Instruction($"store {name}", c =>
            {
                p.G.Set(rcx, address);
                c.mov(__qword_ptr[rcx], rax);
            });
        }

        p.Instruction("store table", c =>
        {
            c.mov(rcx, GuestCode.Absolute(p.TableAddress(1)));
            c.mov(rax, __qword_ptr[rcx + 2048]);
            c.mov(__qword_ptr[rcx + 2048], rax);
        });
        p.Instruction("store table 4", c =>
        {
            c.mov(rcx, GuestCode.Absolute(p.TableAddress(4)));
            c.mov(rax, __qword_ptr[rcx + 40]);
            c.mov(__qword_ptr[rcx + 40], rax);
        });
    }
}
