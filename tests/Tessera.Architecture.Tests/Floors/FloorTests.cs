namespace Tessera.Architecture.Tests.Floors;

/// <summary>The namespaces of an assembly use each other in one direction only.</summary>
internal sealed class FloorTests
{
    /// <summary>The two floors of namespace Example: each type of Below uses Above in another way.</summary>
    private const string Example = "Tessera.Architecture.Tests.Floors.Example";

    // The lowest floor first.
    private static readonly House[] Houses =
    [
        new(
            "Tessera.Kernel",
            "Native", "Snapshots", "Time", "Memory", "Events", "Grants", "Console, Store", "Devices", "Domains", "Hypercalls", "Traps, FastPath, Building", "Machines"),
        new("Tessera.Lab", "", "Folders, Recording, Statistics", "Metrics, Results", "Comparisons", "Reports", "Exports"),
        new("Tessera.GuestLibrary", ""),
        new("Tessera.Experiments", "", "Hosts", "Configuration", "Planning", "Runs", "Machines, Results", "Comparisons", "Sweeps"),
        new("Tessera.Cli", "Native", "Bench, Terminal", "Control, Views", "Boot, Control.Commands", "Verbs", "") { File = "tessera.dll" },
    ];

    private static readonly string TheseTests = Path.GetFileName(typeof(FloorTests).Assembly.Location);

    [TestCaseSource(nameof(Houses))]
    public void Namespaces_use_only_those_on_floors_below(House house) => Assert.That(house.Faults(), Is.Empty);

    [TestCase("ByBase", "Base")]
    [TestCase("ByInterface", "IInterface")]
    [TestCase("ByField", "Value", "Field")]
    [TestCase("IByParameter", "Value", "Take")]
    [TestCase("IByResult", "Value", "get_Result")]
    [TestCase("IByConstraint", "Base", "Take")]
    [TestCase("ByCall", "Tool", "Member")]
    [TestCase("ByFieldAccess", "Tool", "Member")]
    [TestCase("ByGenericCall", "Value", "Member")]
    [TestCase("ByTypeOf", "Base", "Member")]
    [TestCase("ByCatch", "CaughtException", "Member")]
    [TestCase("ByLambda", "Tool", "<Member>b__0")]
    [TestCase("ByIterator", "Tool", "MoveNext")]
    [TestCase("ByAttribute", "MarkAttribute")]
    [TestCase("ByAttributeArgument", "Base")]
    [TestCase("ByNested", "Base")]
    public void A_way_up_is_found_and_said(string from, string to, string? member = null) => Assert.That(
        new House(Example, "Below", "Above") { File = TheseTests }.Faults(),
        Has.One.EqualTo($"{Example}.Below.{from} uses {Example}.Above.{to}, which is not below it{(member is null ? "" : $", in {member}")}"));

    [Test]
    public void Who_uses_nothing_above_is_not_blamed() =>
        Assert.That(new House(Example, "Below", "Above") { File = TheseTests }.Faults(), Has.None.Contains("ByNothing"));

    [Test]
    public void Two_names_on_one_floor_may_not_use_each_other() => Assert.That(
        new House(Example, "Above, Below") { File = TheseTests }.Faults(),
        Has.One.Contains("Below.ByCall uses").And.One.Contains("Above.UsesWhatIsBelow uses"));

    [Test]
    public void A_type_on_no_floor_and_a_floor_without_types_are_faults() => Assert.That(
        new House(Example, "Cellar", "Above") { File = TheseTests }.Faults(),
        Has.One.EqualTo($"{Example}.Below.ByCall is on no floor").And.One.EqualTo($"{Example}.Cellar has a floor and no types"));
}
