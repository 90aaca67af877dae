using Tessera.Kernel.Native;

namespace Tessera.Kernel.Tests.Devices;

/// <summary>Time slices of the host's scheduler.</summary>
internal sealed class TimeSliceTests
{
    [Test]
    public void A_short_slice_is_inherited_and_given_up_again()
    {
        ulong usual = 0;
        ulong shortened = 0;
        ulong inherited = 0;
        ulong restored = 0;
        OnThread(() =>
        {
            TimeSlice.Restore();
            usual = TimeSlice.Read();
            TimeSlice.Shorten();
            shortened = TimeSlice.Read();
            OnThread(() =>
            {
                inherited = TimeSlice.Read();
                TimeSlice.Restore();
                restored = TimeSlice.Read();
            });
        });
        if (shortened == usual)
            Assert.Ignore("This host's scheduler knows no time slices of single threads (Linux before 6.12, or another scheduling class).");
        Assert.That((shortened, inherited, restored), Is.EqualTo((100_000UL, 100_000UL, usual)));
    }

    private static void OnThread(Action work)
    {
        Thread thread = new(() => work());
        thread.Start();
        thread.Join();
    }
}
