namespace Tessera.Hosting.Tests;

internal sealed class SuggestionTests
{
    private static readonly string[] Words = ["bvt", "round-robin", "contextSwitchAllowance", "slice"];

    [TestCase("round-robbin", "round-robin")]
    [TestCase("roundrobin", "round-robin")]
    [TestCase("BVT", "bvt")]
    [TestCase("btv", "bvt")]
    [TestCase("contextSwitchAlowance", "contextSwitchAllowance")]
    [TestCase("slcie", "slice")]
    public void A_typing_error_finds_its_word(string word, string nearest) => Assert.That(Suggestion.Nearest(word, Words), Is.EqualTo(nearest));

    [TestCase("credit")]
    [TestCase("xyz")]
    [TestCase("")]
    public void Another_word_finds_nothing(string word) => Assert.That(Suggestion.Nearest(word, Words), Is.Null);

    [Test]
    public void Nothing_known_suggests_nothing() => Assert.That(Suggestion.Nearest("bvt", []), Is.Null);
}
