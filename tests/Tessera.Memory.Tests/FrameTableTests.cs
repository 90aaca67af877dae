using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests;

[TestFixture]
internal sealed class FrameTableTests
{
    private static readonly DomainId First = new(1);
    private static readonly DomainId Second = new(2);

    private readonly FrameTable _frames = new(reservedFrames: 700, limitFrames: 10_000);

    [SetUp]
    public void Free_everything()
    {
        _frames.Free(First);
        _frames.Free(Second);
    }

    [Test]
    public void Runs_are_aligned_lie_above_the_reserved_frames_and_do_not_overlap()
    {
        Mfn one = _frames.Allocate(First, 5);
        Mfn two = _frames.Allocate(Second, 1025);
        Mfn three = _frames.Allocate(First, 512);
        Assert.That(one.Value, Is.EqualTo(1024));
        Assert.That(two.Value, Is.EqualTo(1536));
        Assert.That(three.Value, Is.EqualTo(3072));
        Assert.That(_frames.AssignedFrames, Is.EqualTo(5 + 1025 + 512));
    }

    [Test]
    public void A_run_has_exactly_the_frames_asked_for()
    {
        Mfn run = _frames.Allocate(First, 513);
        Assert.That(_frames.IsOwner(First, run), Is.True);
        Assert.That(_frames.IsOwner(First, run + 512), Is.True);
        Assert.That(_frames.IsOwner(First, run + 513), Is.False);
        Assert.That(_frames.IsOwner(Second, run), Is.False);
        Assert.That(_frames.IsOwner(new DomainId(0), run + 513), Is.False);
    }

    [TestCase(-1)]
    [TestCase(0)]
    [TestCase(long.MinValue)]
    [TestCase(long.MaxValue)]
    [TestCase(1L << 40)]
    public void A_number_that_is_no_frame_has_no_owner_and_no_type(long number)
    {
        Mfn frame = new(number);
        Assert.That(_frames.IsOwner(First, frame), Is.False);
        Assert.That(_frames.TypeOf(frame), Is.EqualTo((FrameType.None, 0L)));
        Assert.That(_frames.TakeType(First, frame, FrameType.L1), Is.EqualTo(TypeReference.NotOwner));
        Assert.That(_frames.TakeReference(First, frame), Is.False);
        Assert.That(_frames.SetPinned(frame, pinned: true), Is.False);
    }

    [Test]
    public void The_limit_is_kept_and_the_refusal_says_how_much_is_left()
    {
        _frames.Allocate(First, 9_000);
        OutOfFramesException refusal = Assert.Throws<OutOfFramesException>(() => _frames.Allocate(Second, 1_001))!;
        Assert.That(refusal.Message, Does.Contain("1001").And.Contain("1000 are left"));
        Assert.That(_frames.AssignedFrames, Is.EqualTo(9_000));
        Assert.That(() => _frames.Allocate(Second, 1_000), Throws.Nothing);
    }

    [Test]
    public void Freed_runs_are_used_again_and_come_back_clean()
    {
        Mfn one = _frames.Allocate(First, 2000);
        Mfn two = _frames.Allocate(Second, 10);
        _frames.Free(First);
        Assert.That(_frames.AssignedFrames, Is.EqualTo(10));
        Assert.That(_frames.IsOwner(First, one), Is.False);
        Assert.That(_frames.Allocate(First, 1024), Is.EqualTo(one));
        Assert.That(_frames.Allocate(First, 1025).Value, Is.GreaterThan(two.Value));
        Assert.That(_frames.Allocate(First, 1000), Is.EqualTo(one + 1024));
    }

    [Test]
    public void A_type_is_exclusive_and_changes_only_at_count_zero()
    {
        Mfn frame = _frames.Allocate(First, 1);
        Assert.That(_frames.TakeType(First, frame, FrameType.L2), Is.EqualTo(TypeReference.TakenFirst));
        Assert.That(_frames.TakeType(First, frame, FrameType.L2), Is.EqualTo(TypeReference.Taken));
        Assert.That(_frames.TakeType(First, frame, FrameType.Writable), Is.EqualTo(TypeReference.Conflict));
        Assert.That(_frames.TypeOf(frame), Is.EqualTo((FrameType.L2, 2L)));
        Assert.That(_frames.DropType(frame), Is.False);
        Assert.That(_frames.DropType(frame), Is.True);
        Assert.That(_frames.TypeOf(frame), Is.EqualTo((FrameType.None, 0L)));
        Assert.That(_frames.TakeType(First, frame, FrameType.Writable), Is.EqualTo(TypeReference.TakenFirst));
        _frames.DropType(frame);
    }

    [Test]
    public void Dropping_what_is_not_held_is_a_defect_and_says_so()
    {
        Mfn frame = _frames.Allocate(First, 1);
        Assert.That(() => _frames.DropType(frame), Throws.InvalidOperationException);
        Assert.That(() => _frames.DropType(frame + 1), Throws.InvalidOperationException);
        Assert.That(() => _frames.DropReference(frame + 600), Throws.InvalidOperationException);
    }

    [Test]
    public void The_pinned_mark_is_set_once_and_cleared_once()
    {
        Mfn frame = _frames.Allocate(First, 1);
        Assert.That(_frames.SetPinned(frame, pinned: true), Is.True);
        Assert.That(_frames.SetPinned(frame, pinned: true), Is.False);
        Assert.That(_frames.SetPinned(frame, pinned: false), Is.True);
        Assert.That(_frames.SetPinned(frame, pinned: false), Is.False);
    }

    [Test]
    public void Frames_in_use_are_not_freed()
    {
        Mfn frame = _frames.Allocate(First, 3);
        _frames.TakeType(First, frame + 2, FrameType.Writable);
        Assert.That(() => _frames.Free(First), Throws.InvalidOperationException.With.Message.Contains("Writable"));
        _frames.DropType(frame + 2);
        _frames.TakeReference(First, frame);
        Assert.That(() => _frames.Free(First), Throws.InvalidOperationException);
        Assert.That(_frames.AssignedFrames, Is.EqualTo(3));
        _frames.DropReference(frame);
        Assert.That(() => _frames.Free(First), Throws.Nothing);
    }

    [Test]
    public void Threads_that_take_and_drop_types_of_one_frame_never_hold_two_types_at_once()
    {
        Mfn frame = _frames.Allocate(First, 1);
        int tables = 0, writables = 0, violations = 0;
        Parallel.For(0, 4, worker =>
        {
            FrameType type = worker % 2 == 0 ? FrameType.L1 : FrameType.Writable;
            for (int i = 0; i < 50_000; i++)
            {
                if (_frames.TakeType(First, frame, type) is TypeReference.Conflict)
                    continue;
                Interlocked.Increment(ref type == FrameType.L1 ? ref tables : ref writables);
                if (Volatile.Read(ref type == FrameType.L1 ? ref writables : ref tables) != 0)
                    Interlocked.Increment(ref violations);
                Interlocked.Decrement(ref type == FrameType.L1 ? ref tables : ref writables);
                _frames.DropType(frame);
            }
        });
        Assert.That(violations, Is.Zero);
        Assert.That(_frames.TypeOf(frame), Is.EqualTo((FrameType.None, 0L)));
    }
}
