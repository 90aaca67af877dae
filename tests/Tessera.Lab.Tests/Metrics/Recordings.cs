using Tessera.Lab.Recording;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Tests.Metrics;

/// <summary>Recordings written by hand: instants in milliseconds.</summary>
internal sealed class Recordings(int pcpus, params int[] weights)
{
    private readonly List<ScheduleEvent> _events = [];

    public Recordings Run(double at, int domain, int pcpu = 0, RunEnd before = RunEnd.None) => Add(at, ScheduleEventKind.Run, pcpu, domain, before);

    public Recordings Idle(double at, int pcpu = 0, RunEnd before = RunEnd.None) => Add(at, ScheduleEventKind.Idle, pcpu, -1, before);

    public Recordings Wake(double at, int domain) => Add(at, ScheduleEventKind.Wake, -1, domain, RunEnd.None);

    public Recordings Sleep(double at, int domain) => Add(at, ScheduleEventKind.Sleep, -1, domain, RunEnd.None);

    public Recordings Pause(double at, int domain) => Add(at, ScheduleEventKind.Pause, -1, domain, RunEnd.None);

    public Recordings Resume(double at, int domain) => Add(at, ScheduleEventKind.Resume, -1, domain, RunEnd.None);

    public ScheduleRecording Until(double milliseconds) => new()
    {
        Length = Time(milliseconds),
        PcpuCount = pcpus,
        Domains = [.. weights.Select((weight, index) => new RecordedDomain($"d{index}", weight))],
        Events = _events,
    };

    public static Nanoseconds Time(double milliseconds) => new((long)Math.Round(milliseconds * 1e6));

    private Recordings Add(double at, ScheduleEventKind kind, int pcpu, int domain, RunEnd before)
    {
        _events.Add(new ScheduleEvent(Time(at), kind, pcpu, domain, domain < 0 ? -1 : 0, before));
        return this;
    }
}
