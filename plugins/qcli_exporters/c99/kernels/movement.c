static void step_$number($parameters)
{
    $clear
$copies
}
