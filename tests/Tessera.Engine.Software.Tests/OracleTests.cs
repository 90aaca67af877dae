using Iced.Intel;

namespace Tessera.Engine.Software.Tests;

/// <summary>64-bit code does what the host's processor does.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
[TestFixtureSource(typeof(OracleFixture), nameof(Ways))]
internal sealed class OracleTests(EngineWay way) : OracleFixture(way)
{
    private static readonly ProgramKind Kind = new(64);

    [TestCase(1, 1, 4000, 20)]
    [TestCase(2, 5, 1000, 35)]
    public void Random_instructions_do_what_they_do_on_the_host(int seed, int length, int programs, int percent) => Compare(Kind, seed, programs, percent, random => Make(random, length));

    private static (List<Instruction> Body, Wishes Wishes) Make(Random random, int length)
    {
        List<Instruction> body = [];
        Wishes wishes = Wishes.None;
        while (body.Count < length)
        {
            int number = random.Next(RandomInstructions.Count + RandomOthers.Count);
            if (number < RandomInstructions.Count)
            {
                if (RandomInstructions.TryCreate(number, random, out Instruction instruction))
                    body.Add(instruction);
            }
            else if (RandomOthers.TryCreate(number - RandomInstructions.Count, random, body.Count, length, out Instruction other, out Wishes more))
            {
                body.Add(other);
                wishes |= more;
            }
        }

        return (body, wishes);
    }
}
